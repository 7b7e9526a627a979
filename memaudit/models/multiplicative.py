"""The multiplicative RNN (Sutskever, Martens, Hinton 2011), whose every step has a product the others lack."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class MultiplicativeScan(torch.autograd.Function):
    """One layer of the multiplicative RNN over a whole sequence, with its gradient written out.

    f_t = a_t * (W_fh h_{t-1}),  h_t = tanh(W_hf f_t + b_t), where a_t = W_fx x_t and b_t = W_hx x_t + bias
    are made for all t at once outside. The gradients of both weights are one product over all steps each;
    left to autograd they would be one per step.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w_fh: Tensor, w_hf: Tensor, start: Tensor) -> Tensor:
        """Return h of all steps [length, rows, width] from a, b of that shape and h_0 [rows, width]."""
        product, hidden = torch.empty_like(a), torch.empty_like(b)
        state, fh, hf = start, w_fh.t(), w_hf.t()
        for t in range(len(a)):
            torch.mm(state, fh, out=product[t])
            state = torch.addmm(b[t], product[t] * a[t], hf, out=hidden[t]).tanh_()
        ctx.save_for_backward(a, w_fh, w_hf, start, product, hidden)
        return hidden

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of all five inputs."""
        a, w_fh, w_hf, start, product, hidden = ctx.saved_tensors
        gradient = gradients[0]
        d_b, d_product = torch.empty_like(hidden), torch.empty_like(a)
        d_a = torch.empty_like(a)
        slope = 1 - hidden * hidden
        carried = torch.zeros_like(start)
        for t in range(len(a) - 1, -1, -1):
            torch.mul(gradient[t] + carried, slope[t], out=d_b[t])
            d_f = d_b[t] @ w_hf
            torch.mul(d_f, product[t], out=d_a[t])
            torch.mul(d_f, a[t], out=d_product[t])
            carried = d_product[t] @ w_fh
        before = torch.cat([start[None], hidden[:-1]]).flatten(0, 1)
        d_w_fh = d_product.flatten(0, 1).t() @ before
        d_w_hf = d_b.flatten(0, 1).t() @ (a * product).flatten(0, 1)
        return d_a, d_b, d_w_fh, d_w_hf, carried


class MultiplicativeRnn(nn.Module):
    """Stack of multiplicative layers with the interface of ``nn.GRU(batch_first=True)``."""

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.width, self.layers = width, layers
        sizes = [inputs] + [width] * (layers - 1)
        linears = [nn.Linear(size, 2 * width) for size in sizes]
        self.from_input = nn.ModuleList(linears)
        self.w_fh = nn.ParameterList(nn.Parameter(torch.empty(width, width)) for _ in sizes)
        self.w_hf = nn.ParameterList(nn.Parameter(torch.empty(width, width)) for _ in sizes)
        # The product of two small numbers vanishes: factors start with unit variance, matrices keep lengths.
        for size, linear, w_fh, w_hf in zip(sizes, linears, self.w_fh, self.w_hf, strict=True):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(size))
            nn.init.zeros_(linear.bias)
            nn.init.orthogonal_(w_fh)
            nn.init.orthogonal_(w_hf)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map inputs [rows, length, size] and state [layers, rows, width] to hidden states and last state."""
        if state is None:
            state = inputs.new_zeros(self.layers, len(inputs), self.width)
        hidden, last = inputs.transpose(0, 1), []
        for linear, w_fh, w_hf, start in zip(self.from_input, self.w_fh, self.w_hf, state, strict=True):
            a, b = (part.contiguous() for part in linear(hidden).chunk(2, dim=2))
            hidden = MultiplicativeScan.apply(a, b, w_fh, w_hf, start)  # type: ignore[no-untyped-call]
            last.append(hidden[-1])
        return hidden.transpose(0, 1), torch.stack(last)
