"""Which library multiplies by the large weights of a model, and how they lie in memory: measured, once a machine.

On one core of an Intel Xeon, oneDNN reaches half of its speed on the transposed view of a GPT-2's weights, and MKL
beats it by a sixth where many rows are multiplied; on an AMD EPYC oneDNN is a third quicker than MKL however weights
lie. No rule holds for all processors, so the ways are timed for every shape when a model is loaded. Sums of another way
differ in their last digit: what was found is kept for the machine, so that a run that resumes computes as it began.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from memaudit.errors import RunError
from memaudit.models.products import Kind, onednn_product, use_mkl
from memaudit.runs.files import strict_json, write_atomic

LARGE = 1 << 19
"""Elements of a weight from which on the way matters."""
WORTH = 1.15
"""How much quicker than oneDNN on the weight as it lies a way must be to be taken: less is noise."""
MIN_ROWS = 64
OPERATIONS = 1e9
"""Of a product that is timed, at `MIN_ROWS` rows or more: about 10 ms."""
REPEATS = 3
ONEDNN, MKL, LAID_OUT = "oneDNN", "MKL", ", laid out"
Ways = Mapping[str, Callable[[], Tensor]]


def choose_products(module: nn.Module) -> None:
    """Lay out the large fp32 weights of a module on the processor, and fix the library that multiplies by each shape.

    Values and shapes of the weights stay as they are. Without a folder to keep choices in, every process measures anew.
    """
    layers = [(kind, layer) for kind, layer in _layers(module) if _is_large(layer.weight)]
    known = _read() if layers else {}
    shapes = {_name(kind, layer.weight): (kind, layer.weight) for kind, layer in layers}
    found = {name: _quickest(_ways(*shape)) for name, shape in shapes.items() if name not in known}
    known = _kept(found) if found else known
    for kind, layer in layers:
        _apply(kind, layer, known[_name(kind, layer.weight)])


def _layers(module: nn.Module) -> Iterator[tuple[Kind, Any]]:
    for layer in module.modules():
        if type(layer) is nn.Linear:
            yield "linear", layer
        elif type(layer) is Conv1D:
            yield "conv1d", layer


def _is_large(weight: Tensor) -> bool:
    plain = type(weight) in (nn.Parameter, Tensor) and weight.device.type == "cpu" and weight.dtype == torch.float32
    return plain and weight.numel() >= LARGE


def _name(kind: Kind, weight: Tensor) -> str:
    return f"{kind} {'x'.join(map(str, weight.shape))}"


@torch.no_grad()
def _ways(kind: Kind, weight: Tensor) -> Ways:
    """Return how rows can be multiplied by a weight, `ONEDNN` on the weight as it lies first."""
    inputs, outputs = weight.shape if kind == "conv1d" else weight.shape[::-1]
    count = max(MIN_ROWS, int(OPERATIONS / (2 * inputs * outputs)))
    rows, bias = torch.ones(count, inputs), torch.zeros(outputs)
    if kind == "linear":
        return {
            ONEDNN: lambda: onednn_product(rows, weight, bias),
            MKL: lambda: torch.nn.functional.linear(rows, weight, bias),
        }
    laid_out = weight.t().contiguous()
    return {
        ONEDNN: lambda: onednn_product(rows, weight.t(), bias),
        MKL: lambda: torch.addmm(bias, rows, weight),
        ONEDNN + LAID_OUT: lambda: onednn_product(rows, laid_out, bias),
        MKL + LAID_OUT: lambda: torch.addmm(bias, rows, laid_out.t()),
    }


def _quickest(ways: Ways) -> str:
    """Return the name of the quickest way, the first one unless another is clearly quicker."""
    seconds = {name: _seconds(way) for name, way in ways.items()}
    first, best = next(iter(seconds)), min(seconds, key=seconds.__getitem__)
    return best if seconds[first] >= WORTH * seconds[best] else first


@torch.no_grad()
def _seconds(way: Callable[[], Tensor]) -> float:
    way()
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        way()
        times.append(perf_counter() - start)
    return min(times)


def _apply(kind: Kind, layer: Any, way: str) -> None:
    if kind == "conv1d" and way.endswith(LAID_OUT):
        layer.weight.data = layer.weight.data.t().contiguous().t()
    use_mkl(kind, tuple(layer.weight.shape), on=way.startswith(MKL))


def _file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memaudit" / "products.json"


def _machine() -> str:
    """Return what the times depend on beside the shape."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError):
        named = [
            line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name")
        ]
        processor = named[0].partition(":")[2].strip() if named else processor
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processor}, {capability}, torch {torch.__version__}, threads {torch.get_num_threads()}"


def _read() -> dict[str, str]:
    """Return what was found on this machine; nothing where the file cannot be read or is none of ours."""
    return _all().get(_machine(), {})


def _all() -> dict[str, dict[str, str]]:
    with suppress(OSError, ValueError, RuntimeError):
        stored = json.loads(_file().read_bytes())
        names = {*(a + b for a in (ONEDNN, MKL) for b in ("", LAID_OUT))}
        if isinstance(stored, dict) and all(isinstance(ways, dict) for ways in stored.values()):
            return {m: {n: way for n, way in ways.items() if way in names} for m, ways in stored.items()}
    return {}


def _kept(found: Mapping[str, str]) -> dict[str, str]:
    """Add what was found to the file and return all that is known; what another process found first stands."""
    everything = _all()
    known = {**found, **everything.get(_machine(), {})}
    with suppress(OSError, RuntimeError, RunError):  # no folder to keep it in
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_file(), strict_json({**everything, _machine(): known}))
    return known
