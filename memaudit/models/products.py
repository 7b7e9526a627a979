"""Matrix products of the forward pass, on the processor's full vector width whatever its make.

Products go to oneDNN but for shapes that were measured to be quicker on MKL (`memaudit.models.product_choice`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MANY_ROWS = 4
"""Below this a product is bound by reading the weights, and little is gained; from here on measured 1.5x to 2.5x."""
Kind = Literal["linear", "conv1d"]
"""``linear(x, w, b)`` with w [outputs, inputs], or ``addmm(b, x, w)`` with w [inputs, outputs], as GPT-2 has it."""
_ON_MKL: set[tuple[Kind, tuple[int, ...]]] = set()
"""Shapes of weights whose products are left to MKL."""


def use_mkl(kind: Kind, shape: tuple[int, ...], *, on: bool) -> None:
    """Fix whether MKL multiplies by fp32 weights of a shape from now on, or oneDNN as a rule."""
    (_ON_MKL.add if on else _ON_MKL.discard)((kind, shape))


def onednn_product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return rows [.., inputs] times a weight [outputs, inputs], plus the bias, by oneDNN."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return product


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
        if func is torch.nn.functional.linear and not kwargs and _suits("linear", args[0], args[1]):
            return onednn_product(args[0], args[1], args[2] if len(args) > 2 else None)
        if func is torch.addmm and not kwargs and _suits("conv1d", args[1], args[2]) and args[0].dim() == 1:
            bias, rows, weight = args
            return onednn_product(rows, weight.t(), bias)
        return func(*args, **(kwargs or {}))


def _suits(kind: Kind, rows: Tensor, weight: Tensor) -> bool:
    return (
        rows.dtype == weight.dtype == torch.float32
        and rows.device.type == "cpu"
        and rows.numel() >= MANY_ROWS * rows.shape[-1]
        and (kind, tuple(weight.shape)) not in _ON_MKL
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
