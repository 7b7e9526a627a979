"""Sixty-four bytes at a time: what kernels over text need and the compiler does not find by itself.

An index is never checked: the caller keeps ``BLOCK`` bytes of slack behind what it reads and writes.
Words are little-endian, as on every machine that numba compiles for by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import impl_ret_borrowed
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

BLOCK = 64
ZERO: Any = np.int64(0)
"""Where a kernel begins to count what it hands on: a bare number is at first a type of its own, for which numba would
compile once more what it is handed to."""
_BYTE, _WORD, _LANES = ir.IntType(8), ir.IntType(64), ir.VectorType(ir.IntType(8), BLOCK)
_FLAGS, _WORDS = ir.VectorType(ir.IntType(1), BLOCK), ir.VectorType(_WORD, 8)
_ONE_EACH = 0x0101010101010101


def read_only(array: NDArray[Any], dtype: type[Number]) -> NDArray[Number]:
    """Return a view of one type, as a memory map has it: numba compiles a kernel for each type of array.

    Raises:
        TypeError: If the values need not fit ``dtype``.
    """
    view = np.ascontiguousarray(array.astype(dtype, casting="safe", copy=False)).view(np.ndarray)
    view.flags.writeable = False
    return view


def intrinsic(emitter: Callable[..., Any]) -> Any:
    """Return what a kernel may call, with the arguments of the emitter but the first, which numba gives."""
    return numba.extending.intrinsic(emitter)


@intrinsic
def as_read_only(typing_context: Any, array: Any) -> Any:  # noqa: ARG001
    """Return an array within a kernel as `read_only` does outside, so that what reads it is compiled for one type."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return impl_ret_borrowed(context, builder, signature.return_type, arguments[0])  # type: ignore[no-untyped-call]

    return array.copy(readonly=True)(array), emit


@intrinsic
def load_word(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Return the eight bytes of a byte array from ``index`` on as an unsigned integer, the first lowest."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(builder, _pointer(context, builder, signature, arguments, 0), _WORD)

    return types.uint64(array, types.intp), emit


@intrinsic
def store_word(typing_context: Any, array: Any, index: Any, word: Any) -> Any:  # noqa: ARG001
    """Write an unsigned integer as eight bytes, the lowest first."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _store(builder, arguments[2], _pointer(context, builder, signature, arguments, 0))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), emit


@intrinsic
def span_mask(typing_context: Any, array: Any, index: Any, first: Any, last: Any) -> Any:  # noqa: ARG001
    """Return a bit for each of 64 bytes, the first lowest: whether it lies in ``first..last``, which may pass 255."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(builder, _pointer(context, builder, signature, arguments, 0), _LANES)
        return builder.bitcast(_within(builder, block, arguments[2], arguments[3]), _WORD)

    return types.uint64(array, types.intp, types.uint8, types.uint8), emit


@intrinsic
def copy_block(typing_context: Any, source: Any, at: Any, target: Any, to: Any) -> Any:  # noqa: ARG001
    """Copy 64 bytes from one byte array to another."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(builder, _pointer(context, builder, signature, arguments, 0), _LANES)
        _store(builder, block, _pointer(context, builder, signature, arguments, 2))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), emit


@intrinsic
def fold_block(typing_context: Any, source: Any, at: Any, target: Any, to: Any) -> Any:  # noqa: ARG001
    """Copy 64 bytes: ASCII letters in lower case, digits as they are, any other byte as 0.

    Returns a bit for each byte, the first lowest: whether it is such a letter.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def letter(character: str) -> Any:
            return ir.Constant(_BYTE, ord(character))

        block = _load(builder, _pointer(context, builder, signature, arguments, 0), _LANES)
        lower = builder.or_(block, _splat(builder, ir.Constant(_BYTE, 0x20)))
        is_letter = _within(builder, lower, letter("a"), letter("z"))
        is_digit = _within(builder, block, letter("0"), letter("9"))  # digits have the bit of lower case
        kept = builder.select(builder.or_(is_letter, is_digit), lower, ir.Constant(_LANES, [0] * BLOCK))
        _store(builder, kept, _pointer(context, builder, signature, arguments, 2))
        return builder.bitcast(is_letter, _WORD)

    return types.uint64(source, types.intp, target, types.intp), emit


@intrinsic
def compress_block(typing_context: Any, source: Any, at: Any, target: Any, to: Any, kept: Any) -> Any:  # noqa: ARG001
    """Copy those of 64 bytes whose bit is set, close together; what is written beyond them, up to 64 bytes, is junk.

    Each of eight words is compressed on its own: a byte moves down by as many places as bytes below it are
    dropped, by one, two and four at a time (Warren, Hacker's Delight, section 7-4). Returns the end of the copy.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def words(number: int) -> Any:
            return ir.Constant(_WORDS, [number] * 8)

        def shifted_up(value: Any, places: int) -> Any:
            return builder.shl(value, words(8 * places))

        bits = arguments[4]
        keep = builder.bitcast(builder.sext(builder.bitcast(bits, _FLAGS), _LANES), _WORDS)
        block = builder.and_(
            builder.bitcast(_load(builder, _pointer(context, builder, signature, arguments, 0), _LANES), _WORDS), keep
        )
        moves = builder.and_(builder.not_(keep), words(_ONE_EACH))
        for places in (1, 2, 4):
            moves = builder.add(moves, shifted_up(moves, places))
        moves = builder.and_(moves, keep)
        for places in (1, 2, 4):
            chosen = builder.bitcast(builder.and_(moves, words(places * _ONE_EACH)), _LANES)
            moving = builder.icmp_unsigned("!=", chosen, ir.Constant(_LANES, [0] * BLOCK))
            moving = builder.bitcast(builder.sext(moving, _LANES), _WORDS)
            block, moves = (
                builder.or_(
                    builder.and_(value, builder.not_(moving)),
                    builder.lshr(builder.and_(value, moving), words(8 * places)),
                )
                for value in (block, moves)
            )
        target = _pointer(context, builder, signature, arguments, 2)
        end = arguments[3]
        for k in range(8):
            word = builder.extract_element(block, ir.Constant(ir.IntType(32), k))
            _store(builder, word, target)
            part = builder.and_(builder.lshr(bits, ir.Constant(_WORD, 8 * k)), ir.Constant(_WORD, 0xFF))
            size = builder.ctpop(part)
            target, end = builder.gep(target, [size]), builder.add(end, size)
        return end

    return types.int64(source, types.intp, target, types.intp, types.uint64), emit


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    """Return the place of the lowest bit that is set, 64 if none is."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), emit


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, at: int) -> Any:
    """Return the address of the element that arguments ``at`` (an array) and ``at + 1`` (an index) name."""
    array = context.make_array(signature.args[at])(context, builder, arguments[at])
    return builder.gep(array.data, [arguments[at + 1]])


def _load(builder: Any, pointer: Any, kind: Any) -> Any:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=1)


def _splat(builder: Any, byte: Any) -> Any:
    nothing = ir.Constant(_LANES, ir.Undefined)
    one = builder.insert_element(nothing, byte, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return builder.shuffle_vector(one, nothing, everywhere)


def _within(builder: Any, block: Any, first: Any, last: Any) -> Any:
    shifted = builder.sub(block, _splat(builder, first))
    return builder.icmp_unsigned("<=", shifted, _splat(builder, builder.sub(last, first)))
