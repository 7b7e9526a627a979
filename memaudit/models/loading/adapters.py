"""Adapters of `peft`, merged in memory into the base model that they were trained on.

Base and adapter are read by us, each checked as any folder is; `peft` is given tensors and a configuration of which
every key is known, and merges them. The base model stays beside it, over the same memory but for the weights that the
adapter changes: what it reproduces by itself is no work of the fine-tuning.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.adapter_settings import (
    ROOT,
    STEM,
    AdapterSettings,
    named_base,
    named_revision,
    read_settings,
    without_echoes,
)
from memaudit.models.loading.checkpoints import has_tokenizer, tokenizer_folder
from memaudit.models.loading.folder import About, assembled, read_module
from memaudit.models.loading.hub import cached_folder, hub_commit, hub_id
from memaudit.models.loading.kept import without_kernels
from memaudit.models.loading.pickled import pickles_allowed
from memaudit.models.loading.quantised_layers import make_mergeable
from memaudit.models.loading.stored import read_tensors
from memaudit.models.loading.tokenizer import load_tokenizer
from memaudit.models.loading.twin import twin_of
from memaudit.models.loading.weights import Declared, one_name, read_headers, read_json
from memaudit.models.loading.wrappers import Within
from memaudit.models.product_choice import choose_products
from memaudit.models.transformer import CausalTransformer, MaskedTransformer
from memaudit.text.tokenize import Tokenizer

OTHER_BASE = "name the model that it was trained on with --base"


@dataclass(frozen=True, slots=True)
class Base:
    """A base model as it was read, to be changed by one adapter."""

    folder: Path
    module: Any
    about: About
    device: str
    dtype: str


def base_folder(adapter: Path, base: str = "", *, allow_download: bool = False) -> Path:
    """Return the folder of an adapter's base model: a path, one beside the adapter, or a cached Hugging Face id.

    Args:
        adapter: Its folder.
        base: What somebody named; by default what the adapter names.
        allow_download: Whether an id may be fetched.

    Raises:
        ModelError: There is no such folder.
    """
    named = base or named_base(adapter)
    near = [Path(named).expanduser(), *([] if base or Path(named).is_absolute() else [adapter / named])]
    for folder in near:
        if folder.is_dir():
            return folder
    try:
        if near[0].is_file():
            raise ModelError("a file; the base model of an adapter is a folder")
        if named.startswith((".", "/", "~")):
            raise ModelError("no such folder")
        if not base and (revision := named_revision(adapter)):
            named = f"{named}@{revision}"
        return cached_folder(named, allow_download=allow_download, pickles=pickles_allowed())
    except ModelError as error:
        reason = "" if base else ", which its adapter_config.json names as base model"
        raise ModelError(
            f"{one_line(named, 100)}{reason}: {str(error).partition(' (')[0].removeprefix(f'{named}: ')}",
            "give the folder of the base model with --base",
        ) from None


def read_base(folder: Path, *, device: str, dtype: str) -> Base:
    """Read a base model; errors as those of `load_pretrained`."""
    about = read_json(folder / "memaudit.json") if (folder / "memaudit.json").is_file() else {}
    family = str(about.get("family", ""))
    module, known = read_module(folder, device=device, dtype=dtype, family=family, whole=True)
    if known.notes:
        note = make_mergeable(str(folder), module, known.notes[0], known.activations, known.dtype)
        known = replace(known, notes=(note,), activations="")
    return Base(folder, module, known, known.device, known.dtype)


def load_adapted(folder: Path, base: Base, *, control: bool) -> CausalTransformer | MaskedTransformer:
    """Merge an adapter into its base model, which is spent: it becomes the fine-tuned one.

    Args:
        folder: Of the adapter.
        base: Just read.
        control: Whether what the base model was is kept beside it.

    Raises:
        ModelError: `peft` is missing; the adapter is not known, damaged, or of another base model.
    """
    peft = _peft(folder)
    declared = read_headers(folder, STEM)
    declared = {name: declared[name] for name in without_echoes(declared)}
    settings, declared = _of_text(folder, base.about.within, read_settings(folder, declared), declared)
    _check_layers(folder, base.module, settings)
    weights = read_tensors(declared)
    _resize(folder, base.module, declared)
    tokenizer, closing = _tokenizer(folder, base)
    former = twin_of(base.module) if control else None
    merged = _merged(folder, base.module, settings, weights, peft)
    choose_products(merged)
    about = About(
        str(folder), base.about.objective, base.about.family, base.about.settings,
        (*base.about.ignored, *settings.ignored),
    )  # fmt: skip
    model = _placed(assembled(about, merged, tokenizer, closing), base)
    model.notes = _notes(base, settings)
    if former is not None:
        model.base = _placed(assembled(base.about, former, tokenizer, closing), base)
    return model


def _placed(model: CausalTransformer | MaskedTransformer, base: Base) -> CausalTransformer | MaskedTransformer:
    model.device, model.dtype = base.device, base.dtype
    return model


def _notes(base: Base, settings: AdapterSettings) -> tuple[str, ...]:
    called, named = str(hub_commit(base.folder) or hub_id(base.folder) or base.folder.name), settings.base
    told = f"an adapter ({settings.describe()}), merged in memory into {called}"
    if not named or _is_named(base.folder, named):
        return (*base.about.notes, told)
    elsewhere = Path(named).is_absolute() and Path(named).name == base.folder.name
    other = "its base model in another place, whose weights may be others" if elsewhere else "another base model"
    return *base.about.notes, told, f"its adapter_config.json names {other}: {one_line(named, 80)}"


def _is_named(folder: Path, named: str) -> bool:
    """Return whether a folder is what an adapter names: an id of a cache by the whole id, a place by the place."""
    path = Path(named).expanduser()
    if path.is_absolute():
        return path.resolve() == folder.resolve()
    return named.partition("@")[0] == found if (found := hub_id(folder)) else path.name == folder.name


def _peft(folder: Path) -> Any:
    try:
        with _quiet(), without_kernels():  # it imports bitsandbytes
            import peft
    except ImportError as error:
        if error.name not in ("peft", "accelerate"):
            raise
        raise ModelError(f"{folder}: an adapter needs {error.name}", "pip install 'memaudit[adapters]'") from None
    return peft


def _tokenizer(folder: Path, base: Base) -> tuple[Tokenizer, int | None]:
    """Return the tokenizer of the adapter where it has one, with its special tokens, else that of the base model."""
    own = tokenizer_folder(folder)
    return load_tokenizer(own if has_tokenizer(own) else tokenizer_folder(base.folder), base.module.config)


def _of_text(
    folder: Path, within: Within, settings: AdapterSettings, declared: Mapping[str, Declared]
) -> tuple[AdapterSettings, dict[str, Declared]]:
    """Return what of an adapter changes the model that is read, by the names of that; the rest is listed as ignored."""
    homes = {name: within.home(name.removeprefix(ROOT)) for name in declared}
    names = {name: ROOT + within.place(name.removeprefix(ROOT)) for name, home in homes.items() if not home}
    layers = tuple(within.place(layer) for layer in settings.layers if not within.home(layer))
    if not layers:
        raise ModelError(f"{folder}: changes no layer that text is read with", OTHER_BASE)
    counts = Counter(home for home in homes.values() if home)
    told = (f"weights of the adapter: {home} ({count} tensors), not read" for home, count in sorted(counts.items()))
    saved = tuple(names[name] for name in settings.saved if name in names)
    settings = replace(settings, layers=layers, saved=saved, ignored=(*settings.ignored, *told))
    return settings, {place: declared[name] for name, place in names.items()}


def _check_layers(folder: Path, module: Any, settings: AdapterSettings) -> None:
    """Refuse an adapter of layers or tensors that the base model has not."""
    layers, tensors = dict(module.named_modules()), module.state_dict()
    for name in settings.layers:
        if name not in layers:
            raise ModelError(f"{folder}: changes {one_name(name)}, which {type(module).__name__} lacks", OTHER_BASE)
        if not isinstance(getattr(layers[name], "weight", None), Tensor):
            raise ModelError(f"{folder}: {one_name(name)} of the base model has no weight of its own", OTHER_BASE)
    for name in settings.saved:
        if settings.in_base(name) not in tensors:
            raise ModelError(f"{folder}: holds tensor {one_name(name)}, which the base model lacks", OTHER_BASE)


def _resize(folder: Path, module: Any, declared: Mapping[str, Declared]) -> None:
    """Give the base model the rows of an embedding that the adapter brings with more of them.

    To the base model itself, which never saw these tokens, each is the mean of all others.
    """
    embedding, head = module.get_input_embeddings(), module.get_output_embeddings()
    names = {id(one): name for name, one in module.named_modules()}
    rows = embedding.weight.shape[0]
    found = {
        key: declared[key].shape[0]
        for one in (embedding, head)
        for layer in ("", ".base_layer")
        if (key := f"{ROOT}{names.get(id(one))}{layer}.weight") in declared
    }
    larger = {size for size in found.values() if size > rows}
    if not larger:
        return
    tied = head is None or head.weight is embedding.weight
    if len(set(found.values())) > 1 or (not tied and len(found) == 1):
        raise ModelError(f"{folder}: resizes one of the embeddings and not the other", "save both with the adapter")
    [size] = larger
    with torch.random.fork_rng(devices=[]), quiet_transformers(), torch.no_grad():
        module.resize_token_embeddings(size, mean_resizing=False)
        for one in (module.get_input_embeddings(), module.get_output_embeddings()):
            for tensor in (getattr(one, "weight", None), getattr(one, "bias", None)):
                if tensor is not None and len(tensor) == size:
                    tensor[rows:] = tensor[:rows].float().mean(dim=0).to(tensor.dtype)


def _merged(folder: Path, module: Any, settings: AdapterSettings, weights: dict[str, Tensor], peft: Any) -> Any:
    """Return the module with the adapter merged into it, once every tensor has found its place."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name in map(settings.in_base, settings.saved):  # these are written into, and the base model may share them
        if name in parameters:
            parameters[name].data = parameters[name].data.clone()
    with _quiet(), torch.random.fork_rng(devices=[]), _told(folder):
        adapted = peft.PeftModel(module, _config(settings, weights, peft))
        _check_names(folder, peft.get_peft_model_state_dict(adapted, save_embedding_layers=False), settings, weights)
        peft.set_peft_model_state_dict(adapted, dict(weights))
        _check_loaded(folder, adapted, settings, weights, peft)
        _untie(adapted.get_base_model(), settings.layers)
        return adapted.merge_and_unload(safe_merge=True).requires_grad_(True)  # as a model that is loaded has them


def _untie(module: Any, layers: Collection[str]) -> None:
    """Give layers that an adapter changes a parameter of their own, over the same memory, where it is tied to others.

    An adapter of the embedding adds to what the embedding gives, and not to what a head of the same weight does.
    """
    owners = Counter(id(one) for _, one in module.named_parameters(remove_duplicate=False))
    for name in layers:
        layer = module.get_submodule(name).get_base_layer()
        if owners[id(layer.weight)] > 1:
            owners[id(layer.weight)] -= 1
            layer.weight = nn.Parameter(layer.weight.detach())


def _config(settings: AdapterSettings, weights: Mapping[str, Tensor], peft: Any) -> Any:
    more: dict[str, Any] = {"target_modules": list(settings.layers), "inference_mode": True}
    if settings.kind.name == "IA3":
        more["feedforward_modules"] = _feedforward(settings, weights)
    return peft.PEFT_TYPE_TO_CONFIG_MAPPING[settings.kind.name](**settings.used, **more)


def _feedforward(settings: AdapterSettings, weights: Mapping[str, Tensor]) -> list[str]:
    """Return the layers whose inputs are scaled, not their outputs: a row instead of a column of factors."""
    shapes = {
        found[1]: tensor.shape for name, tensor in weights.items() if (found := settings.kind.own.fullmatch(name))
    }
    return [layer for layer, shape in shapes.items() if shape[0] == 1]


def _check_names(
    folder: Path, expected: Mapping[str, Tensor], settings: AdapterSettings, weights: Mapping[str, Tensor]
) -> None:
    """Compare the tensors of the file with those that adapter and base model have room for."""
    missing = sorted(expected.keys() - weights.keys())
    extra = sorted(weights.keys() - expected.keys() - set(settings.saved))
    for names, what in ((missing, "missing"), (extra, "left over")):
        if names:
            raise ModelError(f"{folder}: {len(names)} tensors {what}, first: {one_name(names[0])}", OTHER_BASE)
    for name in sorted(weights.keys() & expected.keys()):
        if weights[name].shape != expected[name].shape:
            sizes = f"{list(weights[name].shape)}, the base model has room for {list(expected[name].shape)}"
            raise ModelError(f"{folder}: tensor {one_name(name)} is of another shape: {sizes}", OTHER_BASE)


def _check_loaded(
    folder: Path, adapted: Any, settings: AdapterSettings, weights: Mapping[str, Tensor], peft: Any
) -> None:
    """Compare what was loaded with what was read, name by name."""
    loaded = dict(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
    inner = adapted.get_base_model().state_dict()
    places = {name: name.removeprefix(ROOT) for name in settings.saved if name not in loaded}
    loaded |= {name: inner[place] for name, place in places.items() if place in inner}
    for name, tensor in weights.items():
        if name not in loaded or not torch.equal(loaded[name].cpu(), tensor.to(loaded[name].dtype)):
            raise ModelError(f"{folder}: tensor {one_name(name)} differs from the file after loading")


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Let whatever goes wrong in the other library be one line that names the folder."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # a hostile adapter can fail anywhere in a merge
        reason = one_line(" ".join(str(error).split()), 200)
        raise ModelError(f"{folder}: adapter and base model do not fit: {reason}", OTHER_BASE) from None


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), quiet_transformers():
        warnings.simplefilter("ignore")
        yield
