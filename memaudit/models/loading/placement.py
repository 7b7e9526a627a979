"""Where the parts of a model lie: on one device, over several, and the rest in memory or on the disk.

Whatever is decided here, scores are the same: each part computes whole, on one device, what it would compute alone.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.precision import DTYPES
from memaudit.models.loading.room import WORKING, check_room, gigabytes, need_of, too_large
from memaudit.models.loading.weights import Declared
from memaudit.models.loading.wrappers import speaking
from memaudit.models.memory import free_bytes
from memaudit.models.parts import device_of

AUTO = "auto"
"""Asks for whatever devices there are, and the disk where memory lacks."""
OFFLOADS = "which leaves layers on the disk"
CPU, DISK = "cpu", "disk"
Place = int | str
"""The number of an accelerator, `CPU` or `DISK`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model will lie."""

    device: str
    """Where what it reads goes, and all of it lies where ``parts`` is None."""
    parts: Mapping[str, Place] | None = None
    """Places by the names of parts."""
    told: str = ""
    """What a report says of the parts."""


def place(
    folder: Path, module: Any, declared: Mapping[str, Declared], dtypes: tuple[str, str], device: str, *, whole: bool
) -> Placement:
    """Decide where a model will lie, by what it will need and what there is, before anything of it is read.

    Args:
        folder: Of the model.
        module: Without memory; its sizes are looked at.
        declared: The tensors of its files.
        dtypes: Names of the type that is wanted, and of the one that the files have.
        device: One device, or `AUTO`.
        whole: Whether it must lie on one device.

    Raises:
        ModelError: There is no such device or no room for it, or `accelerate` is missing that it needs.
    """
    if device != AUTO:
        check_device(device)
        for where in (device,) if goes_straight(device) else (device, CPU):
            check_room(folder, declared, dtypes, where, *(() if whole else (f"--device {AUTO}, {OFFLOADS}",)))
        return Placement(device)
    free = free_memory()
    first = next(iter(free))
    if whole:
        check_room(folder, declared, dtypes, _name(first))
    if whole or need_of(declared, dtypes[0]).total <= free[first]:
        return Placement(_name(first))
    check_accelerate(folder)
    parts = plan(module, DTYPES[dtypes[0]], free)
    sizes = sizes_of(module, parts)
    computing = [where for where in sizes if where not in (CPU, DISK)] or [where for where in sizes if where == CPU]
    if not computing:
        raise too_large(
            folder, declared, dtypes, f"{gigabytes(free[first])} are free, too little for its largest layer"
        )
    if len(sizes) == 1:
        return Placement(_name(computing[0]))
    disk = shutil.disk_usage(tempfile.gettempdir()).free
    if sizes[DISK] > disk:
        found = f"{gigabytes(disk)} are free in {tempfile.gettempdir()} for the layers that memory has no room for"
        raise too_large(folder, declared, dtypes, found)
    told = ", ".join(f"{gigabytes(size)} on {_name(where)}" for where, size in sizes.items())
    told += f" (a temporary folder in {tempfile.gettempdir()})" if sizes[DISK] else ""
    return Placement(_name(computing[0]), parts, told)


def free_memory() -> dict[Place, int]:
    """Return the bytes that are free on every accelerator, in their order, and last those of the machine itself."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    free: dict[Place, int] = {number: free_bytes(torch.device("cuda", number)) for number in range(count)}
    # A machine of which nothing is known is taken to have room: a model that has none ends in an error of its own.
    return free | {CPU: free_bytes(torch.device(CPU)) or 1 << 62}


def plan(module: Any, dtype: torch.dtype, free: Mapping[Place, int]) -> dict[str, Place]:
    """Return where the parts of a module go, in the order of the devices; what has no room goes to the disk.

    Blocks of layers stay whole, tensors that are tied stay together, and on the device that computes the largest layer
    has room that lies elsewhere.

    Args:
        module: On any device; its sizes are looked at.
        dtype: Type that its weights will have.
        free: Bytes on every device; a share of them, `WORKING`, is left free.
    """
    from accelerate import infer_auto_device_map

    module = module.to(dtype)
    module.tie_weights()
    blocks = sorted(getattr(module, "_no_split_modules", None) or ())
    room = {where: int(size / (1 + WORKING)) for where, size in free.items()}
    with _quiet_accelerate():
        parts: dict[str, Place] = dict(infer_auto_device_map(module, room, no_split_module_classes=blocks))
    return parts


def sizes_of(module: Any, parts: Mapping[str, Place]) -> Counter[Place]:
    """Return the bytes of a module's tensors in every place."""
    sizes = Counter[Place]()
    for name, tensor in module.named_parameters():
        [part] = [part for part in parts if not part or f"{name}.".startswith(f"{part}.")]
        sizes[parts[part]] += tensor.numel() * tensor.element_size()
    return sizes


def check_accelerate(folder: Path) -> None:
    """Raise ModelError where `accelerate` cannot be imported."""
    try:
        import accelerate  # noqa: F401
    except ImportError as error:
        if error.name != "accelerate":
            raise
        reason = "does not fit on one device, and several need accelerate"
        raise ModelError(f"{folder}: {reason}", "pip install 'memaudit[large]'") from None


def placed(folder: Path, placement: Placement, build: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Return a module where it is to lie, or the language model in it that stands for itself.

    What goes to the disk lies in a temporary folder for as long as the module lives.

    Args:
        folder: Of the model, for messages.
        placement: Of the module.
        build: Makes it, given what `transformers` is to be told of places.

    Raises:
        ModelError: As ``build`` does, or the family does not compute in parts.
    """
    if placement.parts is None:
        if torch.device(placement.device).type != CPU and goes_straight(placement.device):
            return speaking(build({"device_map": torch.device(placement.device)}))
        return speaking(build({})).to(placement.device)
    offloaded = tempfile.mkdtemp(prefix="memaudit-")
    try:
        with _quiet_accelerate():
            module = build({"device_map": dict(placement.parts), "offload_folder": offloaded})
        _read_aligned(module)
        module = _spoken(module)
        _bring_home(module)
        _check_runs(folder, module)
    except BaseException:
        shutil.rmtree(offloaded, ignore_errors=True)
        raise
    weakref.finalize(module, shutil.rmtree, offloaded, ignore_errors=True)
    return module


def check_device(device: str) -> None:
    """Raise ModelError where there is no such device."""
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("holds no numbers")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch has no error of its own for a device that is not there
        raise ModelError(f"--device {device}: {str(error).splitlines()[0]}") from None


def goes_straight(device: str) -> bool:
    """Return whether each tensor goes to its device when it is read, so that the machine need not hold them all."""
    return torch.device(device).type == CPU or util.find_spec("accelerate") is not None


def _name(where: Place) -> str:
    return f"cuda:{where}" if isinstance(where, int) else str(where)


class _Aligned(Mapping[str, Tensor]):
    """Tensors of the disk, each copied when it is read: sums come out differently over a file that is mapped."""

    def __init__(self, mapped: Mapping[str, Tensor]) -> None:
        self.mapped = mapped

    def __getitem__(self, name: str) -> Tensor:
        return self.mapped[name].clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self.mapped)

    def __len__(self) -> int:
        return len(self.mapped)


def _read_aligned(module: Any) -> None:
    for part in module.modules():
        hook: Any = getattr(part, "_hf_hook", None)
        if getattr(hook, "weights_map", None) is not None:
            hook.weights_map = _Aligned(hook.weights_map)


def _spoken(whole: Any) -> Any:
    """Return the language model in a module, which is told of its places as the whole is."""
    module = speaking(whole)
    if module is whole:
        return module
    module.hf_device_map = whole.hf_device_map
    if not hasattr(module, "_hf_hook"):
        from accelerate.hooks import AlignDevicesHook, add_hook_to_module

        device, keys = device_of(whole), module._skip_keys_device_placement
        add_hook_to_module(module, AlignDevicesHook(device, io_same_device=True, skip_keys=keys))
    return module


def _bring_home(module: Any) -> None:
    """Let the body hand its states back on the device that its tokens came from, as the whole module does."""
    if len({str(place) for place in module.hf_device_map.values()} - {CPU, DISK}) < 2 or module.base_model is module:
        return
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    keys = module._skip_keys_device_placement
    add_hook_to_module(module.base_model, AlignDevicesHook(io_same_device=True, skip_keys=keys), append=True)


@torch.no_grad()
def _check_runs(folder: Path, module: Any) -> None:
    """Refuse a family whose parts read each other's weights past the hooks that bring them in."""
    try:
        with quiet_transformers():
            module(input_ids=torch.tensor([[0, 1]], device=device_of(module)))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # some four hundred families fail in as many ways
        reason = one_line(" ".join(str(error).split()), 100)
        kind = type(module).__name__
        raise ModelError(f"{folder}: {kind} does not compute in parts: {reason}", "name one device") from None


@contextmanager
def _quiet_accelerate() -> Iterator[None]:
    """Silence what is said of offloading, and of parts that are a single tensor; a report says where all lies."""
    logger = logging.getLogger("accelerate")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
