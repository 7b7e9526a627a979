"""The pickle of a state dict, followed without building anything: it names tensors, and may do nothing else."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from memaudit.errors import one_line

LARGEST = 16 << 20
"""Bytes of a pickle: each tensor takes some 200."""
MOST_STEPS = 2_000_000
"""Instructions of a pickle: each tensor takes some 25."""
LONGEST_NAME, MOST_SIDES = 1000, 8
STORAGES = {
    "FloatStorage": ("F32", 4), "DoubleStorage": ("F64", 8), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8), "IntStorage": ("I32", 4), "ShortStorage": ("I16", 2), "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1), "BoolStorage": ("BOOL", 1),
}  # fmt: skip
"""Classes of torch -> how safetensors call the type, and the bytes of a value."""
ORDERED, TENSOR, PARAMETER = (
    "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
)  # fmt: skip


class RefusedError(Exception):
    """A file that is not read, and why."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in a row, in a record of their own."""

    key: str
    kind: str
    """Type of its values, as safetensors call it."""
    width: int
    """Bytes of a value."""
    values: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    """Of its first value."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


def tensors_of(data: bytes) -> dict[str, PickledTensor]:
    """Return the tensors that the pickle of a state dict names.

    Raises:
        RefusedError: It does anything but put tensors into one dictionary.
    """
    steps = _Steps()
    try:
        for number, (code, arg, _) in enumerate(pickletools.genops(data)):
            if number >= MOST_STEPS:
                raise RefusedError(f"its pickle has more than {MOST_STEPS:,} steps")
            steps.do(code.name, arg)
    except (IndexError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise RefusedError(f"its pickle is damaged: {one_line(str(error) or type(error).__name__, 100)}") from None
    return _flat(steps.stack[-1] if steps.stack else None)


def _flat(found: object) -> dict[str, PickledTensor]:
    if not isinstance(found, dict):
        raise RefusedError("it holds no dictionary of tensors")
    for name, value in found.items():
        if isinstance(value, dict):
            raise RefusedError(f"its tensors are not names of one dictionary, but inside {one_line(repr(name), 80)}")
        if not isinstance(name, str) or len(name) > LONGEST_NAME or not isinstance(value, PickledTensor):
            raise RefusedError(f"{one_line(repr(name)[:200], 80)} in it is no tensor")
    return found


class _Steps:
    """A machine that knows the instructions of a state dict.

    Attributes:
        stack: What was built; a list in it is what stood there at a mark.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}
        self._named = dict(_SIMPLE)

    def do(self, name: str, arg: Any) -> None:
        """Take one step."""
        if name in _VALUES:
            make = _VALUES[name]
            self.stack.append(arg if make is None else make())
        elif name in self._named:
            self._named[name](self, arg)
        elif name not in ("PROTO", "STOP"):
            raise RefusedError(f"its pickle has the step {name}, which no state dict has")

    def name_global(self, arg: str) -> None:
        """Name a class or function; only those that a state dict is made of."""
        name = arg.replace(" ", ".", 1)
        module, _, kind = name.rpartition(".")
        if name not in (ORDERED, TENSOR, PARAMETER) and not (module == "torch" and kind in STORAGES):
            _refuse_global(name)
        self.stack.append(_Global(name))

    def call(self, _: Any) -> None:
        """Make a dictionary or a tensor."""
        args, function = self.stack.pop(), self.stack.pop()
        name = function.name if isinstance(function, _Global) else ""
        if name == ORDERED and args == ():
            self.stack.append({})
        elif name == TENSOR and isinstance(args, tuple) and len(args) == 6 and args[5] == {}:
            self.stack.append(_tensor(*args[:4]))
        elif name == PARAMETER and isinstance(args, tuple) and isinstance(args[0], PickledTensor):
            self.stack.append(args[0])
        else:
            raise RefusedError(
                f"its pickle calls {one_line(name or 'what is no function', 80)} in a way that none should"
            )

    def stored(self, _: Any) -> None:
        """Name a storage."""
        word, kind, key, _place, values = self.stack.pop()
        kind = kind.name.removeprefix("torch.") if isinstance(kind, _Global) else ""
        if word != "storage" or kind not in STORAGES or not isinstance(key, str) or not _whole(values):
            raise RefusedError("its pickle names what is no storage")
        found = Storage(key, *STORAGES[kind], values)
        if self._storages.setdefault(key, found) != found:
            raise RefusedError(f"its storage {one_line(key, 40)} is of two types or sizes")
        self.stack.append(found)

    def build(self, _: Any) -> None:
        """Set the versions of modules that a state dict carries, which nothing here reads."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, dict) or not isinstance(state, dict) or set(state) - {"_metadata"}:
            raise RefusedError("its pickle sets attributes of an object")

    def mark(self, _: Any) -> None:
        """Remember a place."""
        self._marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """Return what was put on the stack since the last mark, and take it off."""
        at = self._marks.pop()
        taken, self.stack = self.stack[at:], self.stack[:at]
        return taken

    def set_items(self, _: Any) -> None:
        """Put pairs into a dictionary."""
        pairs = self.since_mark()
        for at in range(0, len(pairs), 2):
            self._set(pairs[at], pairs[at + 1])

    def set_item(self, _: Any) -> None:
        """Put a pair into a dictionary."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set(key, value)

    def _set(self, key: object, value: object) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or not isinstance(key, str | int):
            raise RefusedError("its pickle fills what is no dictionary of names")
        if key in target:
            raise RefusedError(f"it names {one_line(repr(key)[:200], 80)} twice")
        target[key] = value

    def group(self, count: int | None) -> None:
        """Make a tuple of the last values, or of all since the mark."""
        if count is None:
            taken = self.since_mark()
        else:
            taken, self.stack = self.stack[-count:], self.stack[:-count]
        self.stack.append(tuple(taken))

    def keep(self, place: int) -> None:
        """Remember a value."""
        self._memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        """Put a remembered value on the stack."""
        self.stack.append(self._memo[place])


_VALUES: dict[str, Callable[[], Any] | None] = {
    **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING", "BININT", "BININT1", "BININT2", "LONG1")),
    "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "NONE": lambda: None, "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}  # fmt: skip
"""Steps that put a value on the stack: their argument, or what is made anew."""
_SIMPLE: dict[str, Callable[[_Steps, Any], None]] = {
    "GLOBAL": _Steps.name_global, "REDUCE": _Steps.call, "BINPERSID": _Steps.stored, "BUILD": _Steps.build,
    "MARK": _Steps.mark, "SETITEMS": _Steps.set_items, "SETITEM": _Steps.set_item,
    "TUPLE": lambda steps, _: steps.group(None), "TUPLE1": lambda steps, _: steps.group(1),
    "TUPLE2": lambda steps, _: steps.group(2), "TUPLE3": lambda steps, _: steps.group(3),
    "BINPUT": _Steps.keep, "LONG_BINPUT": _Steps.keep, "BINGET": _Steps.recall, "LONG_BINGET": _Steps.recall,
}  # fmt: skip


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> PickledTensor:
    sides = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= MOST_SIDES
    if not (isinstance(storage, Storage) and sides and all(map(_whole, (offset, *shape, *strides)))):
        raise RefusedError("its pickle names what is no tensor")
    return PickledTensor(storage, offset, shape, strides)


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _refuse_global(name: str) -> NoReturn:
    told = one_line(name, 80)
    if "qtensor" in name or name.startswith("torch.Q"):
        raise RefusedError(f"its tensors are quantised ({told})")
    if name == "torch._utils._rebuild_tensor_v3":  # how types are saved that have no class of storages
        raise RefusedError("its tensors are of a type that is read of safetensors alone, as fp8 is")
    if name.startswith("torch._utils._rebuild") or name.startswith("torch._tensor"):
        raise RefusedError(f"its tensors are of a class of their own ({told})")
    raise RefusedError(f"its pickle names {told}, which no state dict has")
