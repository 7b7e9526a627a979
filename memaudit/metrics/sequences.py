"""The two forms in which metrics take text: token ids and strings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.records import AnyIds

Tokens = AnyIds | Sequence[int] | str
"""Token ids, or a string, whose tokens are its characters (code points)."""


def as_codes(tokens: Tokens) -> NDArray[np.int64]:
    """Return ids or code points as an array, so that one kernel serves ids and strings."""
    if isinstance(tokens, str):
        tokens = np.frombuffer(tokens.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return np.ascontiguousarray(tokens, dtype=np.int64)
