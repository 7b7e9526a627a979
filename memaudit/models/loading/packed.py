"""Weights of GPTQ, AWQ, fp8 and mxfp4, dequantised here: to what their kernels multiply by.

Each method stores a weight as several tensors. They are found by their names, their kinds and shapes are compared
before anything is read, and the weight that they make takes their place: what follows is a model as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor, nn

from memaudit.errors import ModelError
from memaudit.models.loading.quantised import Quantisation
from memaudit.models.loading.stored import KINDS, PIECE, LazyTensor, check_values, read_tensors, stored_tensors
from memaudit.models.loading.weights import Declared, one_name

FLOATS = ("F16", "BF16", "F32")
TORN = "download the folder again"
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight columns lies in which four bits of a word of AWQ, from the lowest."""
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""Values of the 16 codes of E2M1 (OCP Microscaling Formats, v1.0)."""
BIAS = 127
"""Of the exponents of E8M0; 255 is NaN."""

Shape = tuple[int, ...]
Parts = Mapping[str, Declared]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a method stores a weight."""

    main: str
    """What the name of the largest of its tensors ends with."""
    others: tuple[str, ...]
    """What those of the others end with."""
    weight: str
    """What the name of the weight ends with."""
    shape: Callable[[Parts, Mapping[str, Any]], Shape | None]
    """Of the weight, from its parts and the settings of the method; None where the parts do not fit each other."""
    value: Callable[[Tensors, Mapping[str, Any]], Tensor]
    """The weight in float32."""
    optional: tuple[str, ...] = ()
    """Of ``others``, those that need not be there."""


def plain_shapes(folder: Path, quantisation: Quantisation, declared: Parts) -> dict[str, Declared]:
    """Return what the tensors of a folder will be once they are dequantised.

    Raises:
        ModelError: No tensor is quantised, a part is missing or left over, or parts do not fit each other.
    """
    layouts = LAYOUTS[quantisation.method]
    plain, used = {}, set()
    for layout in layouts:
        for stem, parts in _stems(folder, layout, declared):
            shape = layout.shape(parts, quantisation.settings)
            name = stem + layout.weight
            if shape is None or min(shape) < 1:
                raise ModelError(
                    f"{folder}: the parts of tensor {one_name(name)} do not fit {quantisation.label}", TORN
                )
            plain[name] = Declared(parts[layout.main].file, "F32", shape)
            used |= {stem + part for part in parts}
    if not plain:
        raise ModelError(
            f"{folder}: config.json says {quantisation.label}, and no tensor is", "is it quantised at all?"
        )
    rest = {name: tensor for name, tensor in declared.items() if name not in used}
    for name in sorted(rest):
        torn = next((layout for layout in layouts if _is_part(name, layout)), None)
        if torn or rest[name].kind.startswith("F8") or name in plain:
            raise ModelError(f"{folder}: tensor {one_name(name)} is without the rest of its weight", TORN)
    return plain | rest


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """A weight that is dequantised when it is asked for, with the interface of `StoredTensor`."""

    folder: Path
    stem: str
    layout: Layout
    parts: Parts
    settings: Mapping[str, Any]
    shape: Shape
    dtype: torch.dtype
    """Of the values that are given out."""

    def get_shape(self) -> list[int]:
        """Return its shape, as safetensors gives it."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Return the name of its type, as safetensors gives it."""
        return next(name for name, kind in KINDS.items() if kind == self.dtype)

    def __getitem__(self, place: EllipsisType | slice | int | tuple[slice | int, ...]) -> Tensor:
        """Read its parts, check them, and return what was asked for of the weight that they make.

        Raises:
            ModelError: Scales or values that are not finite, scales of zeros only, or a group that is not there.
        """
        tensors = read_tensors({self.stem + part: declared for part, declared in self.parts.items()})
        held = {part: tensors[self.stem + part] for part in self.parts}
        _check_scales(self.folder, self.stem, held)
        value = self.layout.value(held, self.settings)
        check_values({self.stem + self.layout.weight: value})
        value = value.to(self.dtype)
        return value if place is Ellipsis else value[place]

    def pieces(self) -> Iterator[Tensor]:
        """Make it again, and return its values in their order."""
        return iter(torch.split(self[...].reshape(-1), PIECE))


def dequantised(folder: Path, quantisation: Quantisation, declared: Parts, dtype: torch.dtype) -> dict[str, LazyTensor]:
    """Return the tensors of a folder, each read, and dequantised to ``dtype``, when its place in a model is filled.

    Raises:
        ModelError: As `plain_shapes`.
    """
    tensors: dict[str, LazyTensor] = dict(stored_tensors(declared, dtype))
    for layout in LAYOUTS[quantisation.method]:
        for stem, parts in list(_stems(folder, layout, declared)):
            for part in parts:
                del tensors[stem + part]
            shape = layout.shape(parts, quantisation.settings)
            assert shape is not None, "seen when shapes were compared"
            tensors[stem + layout.weight] = PackedTensor(
                folder, stem, layout, parts, quantisation.settings, shape, dtype
            )
    return tensors


def without_empty_biases(tensors: dict[str, LazyTensor], module: nn.Module) -> dict[str, LazyTensor]:
    """Leave out biases of zeros that a module has no room for: old tools for GPTQ wrote one for every layer."""
    known = module.state_dict().keys()
    lost = [name for name in tensors if name.endswith(".bias") and name not in known]
    empty = {name for name in lost if not any(piece.any() for piece in tensors[name].pieces())}
    return {name: tensor for name, tensor in tensors.items() if name not in empty}


def _check_scales(folder: Path, stem: str, parts: Tensors) -> None:
    for part, tensor in parts.items():
        if part.endswith(("scales", "scale_inv")) and tensor.dtype != torch.uint8 and not bool(tensor.any()):
            raise ModelError(f"{folder}: tensor {one_name(stem + part)} holds zeros only", "the weights are damaged")
        if part.endswith("_scales") and tensor.dtype == torch.uint8 and bool((tensor == 255).any()):
            raise ModelError(f"{folder}: tensor {one_name(stem + part)} has NaN for a scale", "the weights are damaged")
        if part == ".g_idx" and not 0 <= int(tensor.min()) <= int(tensor.max()) < len(parts[".scales"]):
            raise ModelError(f"{folder}: tensor {one_name(stem + part)} names a group that is not there", TORN)


def _is_part(name: str, layout: Layout) -> bool:
    return name.endswith(layout.others) or (name.endswith(layout.main) and layout.main != layout.weight)


def _stems(folder: Path, layout: Layout, declared: Parts) -> Iterator[tuple[str, Parts]]:
    """Yield what the tensors of every quantised weight have in common in their names, and these tensors."""
    for name in sorted(declared):
        stem = name.removesuffix(layout.main)
        if stem == name or (layout.main == layout.weight and not declared[name].kind.startswith("F8")):
            continue
        parts = {part: declared[stem + part] for part in (layout.main, *layout.others) if stem + part in declared}
        missing = [part for part in layout.others if part not in parts and part not in layout.optional]
        if missing:
            raise ModelError(f"{folder}: tensor {one_name(name)} comes without {one_name(stem + missing[0])}", TORN)
        yield stem, parts


def _fit(parts: Parts, wanted: Mapping[str, tuple[Sequence[str], Shape]]) -> bool:
    return all(parts[part].kind in kinds and parts[part].shape == shape for part, (kinds, shape) in wanted.items())


def _groups(inputs: int, size: int) -> int:
    return 1 if size == -1 else -(-inputs // size)


def _gptq_shape(parts: Parts, settings: Mapping[str, Any]) -> Shape | None:
    packed, scales = 32 // settings["bits"], parts[".scales"].shape
    if len(parts[".qweight"].shape) != 2 or len(scales) != 2:
        return None
    inputs, outputs = parts[".qweight"].shape[0] * packed, parts[".qweight"].shape[1]
    groups = _groups(inputs, settings["group_size"])
    wanted: dict[str, tuple[Sequence[str], Shape]] = {
        ".qweight": (("I32",), (inputs // packed, outputs)), ".scales": (FLOATS, (groups, outputs)),
        ".qzeros": (("I32",), (groups, -(-outputs // packed))),
    }  # fmt: skip
    if ".g_idx" in parts:
        wanted[".g_idx"] = (("I32",), (inputs,))
    return (outputs, inputs) if _fit(parts, wanted) else None


def _gptq_value(parts: Tensors, settings: Mapping[str, Any]) -> Tensor:
    bits = settings["bits"]
    scales = parts[".scales"].float()
    codes = _codes(parts[".qweight"].t(), bits).t()
    zeros = _codes(parts[".qzeros"], bits)[:, : scales.shape[1]]
    if settings["format"] == "gptq":  # which stores them less one
        zeros = (zeros + 1) & ((1 << bits) - 1)
    if ".g_idx" in parts:
        group = parts[".g_idx"].long()
    else:
        group = torch.arange(len(codes)) // (len(codes) if settings["group_size"] == -1 else settings["group_size"])
    return ((codes - zeros[group]) * scales[group]).t().contiguous()


def _awq_shape(parts: Parts, settings: Mapping[str, Any]) -> Shape | None:
    if len(parts[".qweight"].shape) != 2:
        return None
    inputs, words = parts[".qweight"].shape
    groups = _groups(inputs, settings["group_size"])
    wanted = {
        ".qweight": (("I32",), (inputs, words)), ".scales": (FLOATS, (groups, words * 8)),
        ".qzeros": (("I32",), (groups, words)),
    }  # fmt: skip
    return (words * 8, inputs) if _fit(parts, wanted) else None


def _awq_value(parts: Tensors, settings: Mapping[str, Any]) -> Tensor:
    def codes(words: Tensor) -> Tensor:
        lowest_first = _codes(words, 4).reshape(len(words), -1, 8)
        columns = torch.empty_like(lowest_first)
        columns[:, :, list(AWQ_ORDER)] = lowest_first
        return columns.reshape(len(words), -1)

    weight, size = codes(parts[".qweight"]), settings["group_size"]
    group = torch.arange(len(weight)) // (len(weight) if size == -1 else size)
    zeros, scales = codes(parts[".qzeros"]), parts[".scales"].float()
    return ((weight - zeros[group]) * scales[group]).t().contiguous()


def _codes(words: Tensor, bits: int) -> Tensor:
    """Return the codes in words of 32 bits, the lowest bits first, shape [rows, words * 32 / bits]."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return ((words.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)).reshape(len(words), -1)


def _fp8_shape(parts: Parts, settings: Mapping[str, Any]) -> Shape | None:
    weight, scales, block = parts[".weight"], parts[".weight_scale_inv"], settings["block"]
    if weight.kind != "F8_E4M3" or len(weight.shape) != 2 or scales.kind not in FLOATS:
        return None
    one = scales.shape in ((), (1,), (1, 1))
    grid = block and tuple(-(-side // step) for side, step in zip(weight.shape, block, strict=True))
    return weight.shape if scales.shape == grid or (block is None and one) else None


def _fp8_value(parts: Tensors, settings: Mapping[str, Any]) -> Tensor:
    weight, scales, block = parts[".weight"].float(), parts[".weight_scale_inv"].float(), settings["block"]
    if block is None:
        return weight * scales.reshape(1, 1)
    rows, columns = weight.shape
    for axis, step in enumerate(block):
        scales = scales.repeat_interleave(step, axis)
    return weight * scales[:rows, :columns]


def _mxfp4_shape(parts: Parts, _: Mapping[str, Any]) -> Shape | None:
    blocks, scales = parts["_blocks"], parts["_scales"]
    if (blocks.kind, scales.kind) != ("U8", "U8") or len(blocks.shape) != 4 or blocks.shape != (*scales.shape, 16):
        return None
    experts, rows, count, _bytes = blocks.shape
    return experts, count * 32, rows


def _mxfp4_value(parts: Tensors, _: Mapping[str, Any]) -> Tensor:
    """Return the weights of experts [experts, inputs, outputs]; of the two codes of a byte the lower comes first."""
    table, weights = torch.tensor(FP4), []
    for blocks, scales in zip(parts["_blocks"], parts["_scales"], strict=True):  # all at once would take much memory
        values = torch.stack([table[(blocks & 15).int()], table[(blocks >> 4).int()]], dim=-1).flatten(-2)
        weights.append(torch.ldexp(values, scales.int().unsqueeze(-1) - BIAS).flatten(1).t())
    return torch.stack(weights)


LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "gptq": (Layout(".qweight", (".scales", ".qzeros", ".g_idx"), ".weight", _gptq_shape, _gptq_value, (".g_idx",)),),
    "awq": (Layout(".qweight", (".scales", ".qzeros"), ".weight", _awq_shape, _awq_value),),
    "fp8": (
        Layout(
            ".weight", (".weight_scale_inv", ".activation_scale"), ".weight", _fp8_shape, _fp8_value,
            (".activation_scale",),
        ),
    ),
    "mxfp4": (Layout("_blocks", ("_scales",), "", _mxfp4_shape, _mxfp4_value),),
}  # fmt: skip
