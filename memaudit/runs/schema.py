"""What JSON must look like, defined by the types that the code itself is checked against.

Plans, log lines and reports are TypedDicts (`memaudit.runs.plans`, `log_lines`, `reports`). `misfit` holds a value that
was read to such a type, for a folder may come from anywhere, and `json_schema` publishes the same. Keys that
a type does not name may stand too.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NotRequired,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
Record = TypeVar("Record")
_NAMES: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
_JSON: Mapping[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}


@dataclass(frozen=True, slots=True)
class Tagged:
    """Objects of several types that a key tells apart."""

    key: str
    known: Mapping[str, type]
    """Value of the key -> what an object holds beside the fields of `tagged`."""
    tagged: type
    """Wherever there is such a key."""
    untagged: type
    """Where there is none."""

    def types_of(self, value: object) -> list[type]:
        """Return the types that a value must fit, all of them."""
        if not isinstance(value, dict) or self.key not in value:
            return [self.untagged]
        tag = value[self.key]
        return [self.tagged, *([self.known[tag]] if isinstance(tag, str) and tag in self.known else [])]


@dataclass(frozen=True, slots=True)
class Field:
    """One key of an object."""

    type: Any
    required: bool


@cache
def fields_of(kind: type) -> Mapping[str, Field]:
    """Return the keys of a TypedDict, or of a dataclass as JSON holds it: fields with a default may be absent."""
    hints = get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        needed = {f.name for f in dataclasses.fields(kind) if f.default is MISSING and f.default_factory is MISSING}
        return {f.name: Field(hints[f.name], f.name in needed) for f in dataclasses.fields(kind)}
    return {
        name: Field(get_args(hint)[0], False) if get_origin(hint) is NotRequired else Field(hint, True)
        for name, hint in hints.items()
    }


def misfit(value: object, kind: Any, name: str) -> str:
    """Say in one line what is not as it must be; empty where everything is.

    Args:
        value: What a JSON file holds.
        kind: A TypedDict, a dataclass, a list, a tuple of a fixed length, a dictionary by texts, a Literal, a union, a
            plain type, or a `Tagged`. Where a float is wanted an integer will do, a bool for neither.
        name: What to call the value.
    """
    if kind is Any:
        return ""
    if isinstance(kind, Tagged):
        return next(filter(None, (misfit(value, each, name) for each in kind.types_of(value))), "")
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _misfit_of_union(value, get_args(kind), name)
    if origin is Literal:
        fits = type(value) in (str, int) and value in get_args(kind)
        return "" if fits else f"{name} is not {' or '.join(map(str, get_args(kind)))}"
    plain = _plain(kind)
    fits = isinstance(value, int | float if plain is float else plain)
    if not fits or (isinstance(value, bool) and plain is not bool):
        return f"{name} is {_NAMES[type(value)]}, not {_NAMES[plain]}"
    return next(filter(None, _misfits_inside(value, kind, name)), "")


def _misfit_of_union(value: object, kinds: tuple[Any, ...], name: str) -> str:
    if value is None and type(None) in kinds:
        return ""
    others = [kind for kind in kinds if kind is not type(None)]
    problems = [misfit(value, kind, name) for kind in others]
    if "" in problems or len(problems) == 1:
        return problems[0] if len(problems) == 1 else ""
    inside = [p for kind, p in zip(others, problems, strict=True) if isinstance(value, _plain(kind))]
    wanted = " or ".join(dict.fromkeys(_NAMES[_plain(kind)] for kind in others))
    return next(iter(inside), f"{name} is {_NAMES[type(value)]}, not {wanted}")


def _misfits_inside(value: object, kind: Any, name: str) -> Iterator[str]:
    """Yield what is wrong with the parts of an object or a list."""
    arguments = get_args(kind)
    if isinstance(value, dict) and _has_fields(kind):
        fields = fields_of(kind)
        if missing := [key for key, field in fields.items() if field.required and key not in value]:
            yield f"{name} has no '{missing[0]}'"
        for key, field in fields.items():
            if key in value:
                yield misfit(value[key], field.type, f"{name}.{key}")
    elif isinstance(value, dict) and arguments:
        for key, one in value.items():
            yield misfit(one, arguments[1], f"{name}.{key}")
    elif isinstance(value, list) and arguments:
        if get_origin(kind) is tuple and len(value) != len(arguments):
            yield f"{name} has {len(value)} entries, not {len(arguments)}"
        kinds = arguments if get_origin(kind) is tuple else arguments * len(value)
        for i, (one, each) in enumerate(zip(value, kinds, strict=True)):
            yield misfit(one, each, f"{name}.{i}")


def _has_fields(kind: Any) -> bool:
    return is_typeddict(kind) or dataclasses.is_dataclass(kind)


def _plain(kind: Any) -> type:
    """Return the type that the JSON value of a type has in Python."""
    if _has_fields(kind):
        return dict
    origin = get_origin(kind) or kind
    return list if origin is tuple else cast("type", origin)


def as_record(value: DataclassInstance, kind: type[Record]) -> Record:
    """Return a dataclass as the TypedDict that says what JSON holds of it.

    Raises:
        TypeError: They do not have the same keys.
    """
    found, fields = dataclasses.asdict(value), fields_of(cast("Any", kind))
    needed = {name for name, field in fields.items() if field.required}
    if not needed <= found.keys() <= fields.keys():
        raise TypeError(f"{type(value).__name__} and {kind.__name__} differ in {found.keys() ^ fields.keys()}")
    return cast("Record", found)


def json_schema(kind: Any, title: str) -> Schema:
    """Return the JSON Schema (2020-12) of a type, as `misfit` takes it.

    Descriptions are the docstrings of types and fields. One thing the schema cannot say: a whole number that is
    written as 1.0 is refused here.
    """
    definitions: dict[str, Schema] = {}
    body = _tagged_schema(kind, definitions) if isinstance(kind, Tagged) else _schema(kind, definitions)
    return {"$schema": DIALECT, "title": title, **body, "$defs": dict(sorted(definitions.items()))}


def _schema(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of a type; objects with fields go into the definitions, once each."""
    if _has_fields(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # taken, should it hold itself
            definitions[kind.__name__] = _object_schema(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        members = [_schema(each, definitions) for each in arguments]
        plain = all(member.keys() == {"type"} for member in members)
        return {"type": [member["type"] for member in members]} if plain else {"anyOf": members}
    if origin is tuple:
        inner, size = [_schema(each, definitions) for each in arguments], len(arguments)
        return {"type": "array", "prefixItems": inner, "minItems": size, "maxItems": size}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    return dict(_JSON[kind])


def _object_schema(kind: type, definitions: dict[str, Schema]) -> Schema:
    fields, said = fields_of(kind), _descriptions(kind)
    return {
        "type": "object",
        "description": _folded(kind.__doc__ or ""),
        "properties": {
            name: _schema(field.type, definitions) | ({"description": said[name]} if name in said else {})
            for name, field in fields.items()
        },
        "required": [name for name, field in fields.items() if field.required],
    }


def _tagged_schema(kind: Tagged, definitions: dict[str, Schema]) -> Schema:
    def case(tag: Schema, each: type) -> Schema:
        return {"if": {"required": [kind.key], "properties": {kind.key: tag}}, "then": _schema(each, definitions)}

    tagged = {"if": {"required": [kind.key]}, "then": _schema(kind.tagged, definitions)}
    tagged["else"] = _schema(kind.untagged, definitions)
    return {"type": "object", "allOf": [tagged, *(case({"const": tag}, each) for tag, each in kind.known.items())]}


def _descriptions(kind: type) -> dict[str, str]:
    """Return the docstrings of the fields of a class and of those that it extends: the texts that stand below them."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for base in tree.bases:  # a TypedDict does not know what it extends
        extended = getattr(sys.modules[kind.__module__], base.id, None) if isinstance(base, ast.Name) else None
        if extended is not None and _has_fields(extended):
            found |= _descriptions(extended)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = _folded(ast.literal_eval(text.value))
    return found


def _folded(text: str) -> str:
    return " ".join(text.split())
