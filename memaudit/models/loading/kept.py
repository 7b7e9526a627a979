"""Weights of bitsandbytes and compressed-tensors, read by their libraries and kept as they lie in the file.

The libraries are given tensors whose names, kinds and shapes were compared with each other, and a configuration of
which every key is known; what they made of them is compared with the file before anything is computed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.build import Blank, check_places, filled
from memaudit.models.loading.description import UNLIKE
from memaudit.models.loading.quantised import KEY, Quantisation
from memaudit.models.loading.quantised_layers import layers_of, without_packing
from memaudit.models.loading.stored import check_values, read_tensors
from memaudit.models.loading.weights import Declared, one_name
from memaudit.models.loading.wrappers import places_of

STATE = ".weight.quant_state.bitsandbytes__"
LONGEST_STATE = 2048
"""Bytes of the description of a tensor of 4 bits; the longest that are written have 200."""
BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Values that bitsandbytes gives one scale."""
NESTED = 256
"""Scales that share one, where they are quantised too."""
SCALES = (".absmax", ".SCB", ".weight_scale")
PACKED, SHAPE = ".weight_packed", ".weight_shape"
DAMAGED = "the weights are damaged"
EXTRA = "pip install 'memaudit[quantised]'"

Parts = Mapping[str, Declared]


@contextmanager
def without_kernels() -> Iterator[None]:
    """Let libraries be imported that would fetch compiled code from the Hub at once (bitsandbytes does).

    They ask the package ``kernels`` for it, which is not found within this.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    there = {"kernels": sys.modules["kernels"]} if "kernels" in sys.modules else {}
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["kernels"]
        sys.modules.update(there)


def needed(folder: Path, quantisation: Quantisation) -> None:
    """Import what a method needs, or raise ModelError that says how it is installed."""
    try:
        with without_kernels(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import accelerate  # noqa: F401

            if quantisation.library == "bitsandbytes":
                import bitsandbytes  # noqa: F401
            else:
                import compressed_tensors  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        lacking = (error.name or quantisation.library).replace("_", "-")
        raise ModelError(f"{folder}: quantised by {quantisation.label}: needs {lacking}", EXTRA) from None


def kept_shapes(folder: Path, quantisation: Quantisation, declared: Parts) -> Parts:
    """Return what the tensors of a folder describe, those that only a library reads under names of no model.

    Raises:
        ModelError: No tensor is quantised, a part is missing or left over, or parts do not fit each other.
    """
    tensors = read_tensors({name: each for name, each in declared.items() if each.values <= LONGEST_STATE})
    read = {"bitsandbytes-4bit": _four_bit, "bitsandbytes-8bit": _eight_bit, "compressed-tensors": _compressed}
    described, used = read[quantisation.method](folder, quantisation, declared, tensors)
    if not described:
        raise ModelError(
            f"{folder}: config.json says {quantisation.label}, and no tensor is", "is it quantised at all?"
        )
    return described | {name: tensor for name, tensor in declared.items() if name not in used}


def build_kept(blank: Blank, quantisation: Quantisation, held: Parts, dtype: torch.dtype, device: str) -> Any:
    """Return a module whose quantised layers are those of the library, compared with what was read.

    Args:
        blank: The model without its weights, its configuration without settings of quantisation.
        quantisation: Of the folder.
        held: The tensors of its files.
        dtype: In which is computed.
        device: Where.

    Raises:
        ModelError: Tensors are missing, left over, of another shape, not finite, or other than what was read.
    """
    folder, weights = blank.folder, read_kept(held)
    settings = dict(quantisation.settings)
    if quantisation.library == "bitsandbytes" and dtype == torch.float64:
        raise ModelError(f"{folder}: bitsandbytes does not compute in float64", "leave out --dtype")
    if quantisation.method == "bitsandbytes-4bit":
        settings["bnb_4bit_compute_dtype"] = str(dtype).removeprefix("torch.")
    setattr(blank.config, KEY, settings)
    with quiet_libraries():
        module, info = filled(blank, weights, dtype, quantisation.label, device_map={"": device})
    check_places(folder, module, info)
    _cast(module, dtype)
    placed = _placed(folder, module, weights)
    _check_same(folder, module, placed)
    _check_layers(folder, module, placed)
    return _ready(module)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence what the libraries say while they load: bars, warnings, and remarks about the machine."""
    with quiet_transformers(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), without_kernels():
        warnings.simplefilter("ignore")
        if "loguru" in sys.modules:  # which holds on to the first standard error that it saw
            sys.modules["loguru"].logger.disable("compressed_tensors")
        yield


@torch.no_grad()
def _ready(module: Any) -> Any:
    """Have the libraries do now what they put off until something is computed, and check what came of it."""
    without_packing(module)
    with quiet_libraries():
        module.eval()(input_ids=torch.zeros((1, 2), dtype=torch.long, device=next(module.parameters()).device))
    check_values({name: value for name, value in module.state_dict().items() if "quant_map" not in name})
    if not bool(module.get_input_embeddings().weight.any()):
        raise ModelError("the token embedding holds zeros only", DAMAGED)
    return module


def _cast(module: Any, dtype: torch.dtype) -> None:
    """Give what bitsandbytes left unquantised the type that is computed in: it keeps that of the file."""
    packed = {id(layer.weight) for _, layer in layers_of(module)}
    exact = tuple(getattr(module, "_keep_in_fp32_modules", None) or ())
    for name, parameter in module.named_parameters():
        plain = parameter.is_floating_point() and parameter.element_size() > 1 and id(parameter) not in packed
        if plain and packed and not any(part in name for part in exact):
            parameter.data = parameter.data.to(dtype)


def _placed(folder: Path, module: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the names that they have in a module, but those that it holds merged with others."""
    loaded, placed = module.state_dict(), {}
    for name, (place, merged) in places_of(module, weights).items():
        if place not in loaded:
            raise ModelError(f"{folder}: tensor {one_name(name)} found no place in the model", UNLIKE)
        if not merged:
            placed[place] = weights[name]
    return placed


def _check_same(folder: Path, module: Any, placed: Mapping[str, Tensor]) -> None:
    loaded = module.state_dict()
    for name, tensor in placed.items():
        wanted = tensor.to(loaded[name].dtype) if tensor.is_floating_point() and tensor.element_size() > 1 else tensor
        found = loaded[name].cpu()
        if found.dtype != wanted.dtype or not torch.equal(_bits(found), _bits(wanted)):
            if STATE in name and orjson.loads(bytes(found.tolist())) == orjson.loads(bytes(wanted.tolist())):
                continue
            raise ModelError(f"{folder}: tensor {one_name(name)} differs from the file after loading")


def _bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).contiguous().view(torch.uint8)


def _check_layers(folder: Path, module: Any, weights: Mapping[str, Tensor]) -> None:
    """Refuse layers that are quantised in the model and not in the file, or of another shape than the model's."""
    for name, layer in layers_of(module):
        state = getattr(layer.weight, "quant_state", None)
        shape = tuple(layer.weight.shape) if state is None else tuple(state.shape)
        quantised = f"{name}.SCB" in weights or any(f"{name}{STATE}{kind}" in weights for kind in ("nf4", "fp4"))
        if not quantised or shape != (layer.out_features, layer.in_features):
            what = "is of another shape" if quantised else "is not quantised in the file"
            raise ModelError(f"{folder}: the weight of layer {one_name(name)} {what}", UNLIKE)


def _read(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise ModelError(f"{folder}: tensor {one_name(name)} is missing", UNLIKE)
    return tensors[name]


def _four_bit(
    folder: Path, quantisation: Quantisation, declared: Parts, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Declared], set[str]]:
    described, used = {}, set()
    for name in sorted(declared):
        stem, found, kind = name.partition(STATE)
        if not found:
            continue
        if kind != quantisation.settings.get("bnb_4bit_quant_type", "fp4"):
            raise ModelError(f"{folder}: tensor {one_name(name)} is not {quantisation.label}", UNLIKE)
        shape = _check_state(folder, stem, kind, declared, tensors)
        # Whether a layer is laid out as inputs by outputs only the library knows: the name is none of the model's.
        described[f"{stem} of 4 bits"] = Declared(declared[name].file, "F32", shape)
        ends = ("", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
        used |= {name, *(f"{stem}.weight{end}" for end in ends)}
    return described, used


def _check_state(folder: Path, stem: str, kind: str, declared: Parts, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the shape of a weight of 4 bits, once its parts are seen to be what its description says."""
    name = f"{stem}{STATE}{kind}"
    weight = f"{stem}.weight"
    wrong = ModelError(f"{folder}: tensor {one_name(name)} does not describe {one_name(weight)}", DAMAGED)
    if declared[name].kind != "U8" or not 0 < declared[name].values <= LONGEST_STATE:
        raise wrong
    try:
        state = orjson.loads(bytes(_read(folder, name, tensors).tolist()))
        shape, block = state["shape"], state["blocksize"]
        nested = {"nested_blocksize", "nested_dtype", "nested_offset"} & state.keys()
        plain = {"quant_type", "blocksize", "dtype", "shape"}
        fits = state.keys() == plain | nested and state["quant_type"] == kind and block in BLOCKS
        fits = fits and state["dtype"] in ("float32", "float16", "bfloat16") and len(shape) == 2
        fits = fits and all(type(side) is int and side > 0 for side in shape)
        scales = -(-math.prod(shape) // block) if fits else 0
        parts: dict[str, tuple[str, tuple[int, ...]]] = {
            "": ("U8", ((math.prod(shape) + 1) // 2, 1)), ".quant_map": ("F32", (16,)),
            ".absmax": ("U8" if nested else "F32", (scales,)),
        }  # fmt: skip
        if nested:
            fits = (
                fits and len(nested) == 3 and (state["nested_blocksize"], state["nested_dtype"]) == (NESTED, "float32")
            )
            fits = fits and isinstance(state["nested_offset"], float) and math.isfinite(state["nested_offset"])
            parts |= {".nested_absmax": ("F32", (-(-scales // NESTED),)), ".nested_quant_map": ("F32", (256,))}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, OverflowError):
        raise wrong from None
    if not fits or any(
        (there := declared.get(weight + part)) is None or (there.kind, there.shape) != wanted
        for part, wanted in parts.items()
    ):
        raise wrong
    _check_table(folder, weight, kind, tensors)
    return shape[0], shape[1]


def _check_table(folder: Path, weight: str, kind: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse values for codes other than the method's: kernels have tables of their own, and would not read them."""
    from bitsandbytes import functional

    known = functional.get_4bit_type(  # type: ignore[no-untyped-call]
        kind, device="cpu"
    )
    if not torch.allclose(_read(folder, f"{weight}.quant_map", tensors), known, rtol=0, atol=1e-6):
        raise ModelError(f"{folder}: tensor {one_name(weight)} has values for its codes that {kind} has not", DAMAGED)


def _eight_bit(
    folder: Path, _: Quantisation, declared: Parts, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Declared], set[str]]:
    described, used = {}, set()
    for name in sorted(declared):
        stem = name.removesuffix(".SCB")
        if stem == name:
            continue
        weight, form = declared.get(f"{stem}.weight"), declared.get(f"{stem}.weight_format")
        fits = weight is not None and weight.kind == "I8" and len(weight.shape) == 2
        if not fits or weight is None or (declared[name].kind, declared[name].shape) != ("F32", weight.shape[:1]):
            raise ModelError(f"{folder}: tensor {one_name(name)} is without a weight of 8 bits that it fits", DAMAGED)
        if form is not None and int(_read(folder, f"{stem}.weight_format", tensors).sum()) != 0:
            raise ModelError(f"{folder}: tensor {one_name(stem)}.weight is laid out for a GPU", "save it by rows")
        described[f"{stem} of 8 bits"] = Declared(weight.file, "F32", weight.shape)
        used |= {name, f"{stem}.weight", f"{stem}.weight_format"}
    return described, used


def _compressed(
    folder: Path, _: Quantisation, declared: Parts, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Declared], set[str]]:
    described, used = {}, set()
    for name in sorted(declared):
        if not name.endswith(".weight_scale"):
            continue
        stem, scale = name.removesuffix(".weight_scale"), declared[name]
        packed, plain = declared.get(stem + PACKED), declared.get(f"{stem}.weight")
        held = packed or plain
        if held is None or len(held.shape) != 2 or scale.kind not in ("F32", "F16", "BF16"):
            raise ModelError(f"{folder}: tensor {one_name(name)} is without a weight that it scales", DAMAGED)
        shape = held.shape
        if packed is not None:
            sides = _read(folder, stem + SHAPE, tensors).tolist()
            if len(sides) != 2 or sides[0] != shape[0] or not 4 * shape[1] <= sides[1] + 7 <= 8 * shape[1] + 7:
                raise ModelError(f"{folder}: tensor {one_name(stem + SHAPE)} is not the shape of its weight", DAMAGED)
            shape = (sides[0], sides[1])
        described[f"{stem}.weight"] = Declared(scale.file, "F32", shape)
        used |= {stem + end for end in (".weight_scale", ".weight", PACKED, SHAPE, ".weight_zero_point")}
    return described, used


def read_kept(declared: Parts) -> dict[str, Tensor]:
    """Read tensors as they lie, once those that hold numbers are seen to be finite, no scales zero."""
    tensors = read_tensors(declared)
    for name, tensor in tensors.items():
        scales = name.endswith(SCALES) and tensor.is_floating_point()
        if scales and not bool(tensor.any()):
            raise ModelError(f"{declared[name].file}: tensor {one_name(name)} holds zeros only", DAMAGED)
    return tensors
