"""Matrix products of the forward pass, on the processor's full vector width whatever its make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MANY_ROWS = 4
"""Below this a product is bound by reading the weights, and little is gained; from here on measured 1.5x to 2.5x."""


@contextmanager
def inference() -> Iterator[None]:
    """Read a model: no gradients, products by the quickest library; also a decorator."""
    with torch.no_grad(), OneDnnProducts():
        yield


class OneDnnProducts(TorchFunctionMode):
    """Within it, fp32 linear layers on the CPU run on oneDNN instead of MKL, without gradients.

    torch sends such products to MKL, which takes the narrower instructions on processors that are not
    Intel's: measured on one core of an AMD EPYC, 110 GF/s against 240 for the same sums in fp32.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Redirect ``linear(x, w, b)`` and ``addmm(b, x, w)``; leave all else alone."""
        if func is torch.nn.functional.linear and not kwargs and _suits(args[0], args[1]):
            return torch.ops.mkldnn._linear_pointwise(*args, *[None] * (3 - len(args)), "none", [], "")
        if func is torch.addmm and not kwargs and _suits(args[1], args[2]) and args[0].dim() == 1:
            bias, rows, weight = args
            return torch.ops.mkldnn._linear_pointwise(rows, weight.t(), bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def _suits(rows: Tensor, weight: Tensor) -> bool:
    return (
        rows.dtype == weight.dtype == torch.float32
        and rows.device.type == "cpu"
        and rows.numel() >= MANY_ROWS * rows.shape[-1]
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
