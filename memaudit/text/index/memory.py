"""What the kernels of the index share: one type of array for each, and fetching ahead of use."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]
UInt32Array = NDArray[np.uint32]
Int64Array = NDArray[np.int64]


def _prefetch(_: Any, array: Any, index: Any) -> Any:  # noqa: ARG001 (a signature, for numba)
    """Start to load ``array[index]`` into the cache, for a kernel that will want it some steps later.

    The place need not lie inside the array, but what lies far off costs time: the page has to be looked up.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        name = "llvm.prefetch.p0i8"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, keep in all levels, data
        return context.get_dummy_value()

    return types.none(array, types.int64), code


prefetch: Any = intrinsic(_prefetch)
