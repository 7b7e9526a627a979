"""Checkpoints of a training: one safetensors file, replaced atomically, that names what it belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from memaudit.errors import RunError
from memaudit.records import TokenIds

Identity = dict[str, Any]
"""What a training is, by the name a user knows each part by; two trainings are one when all are equal."""


def checkpoint_file(out: Path) -> Path:
    """Return where the checkpoint of a training into ``out`` stands."""
    return out / "training" / "checkpoint.safetensors"


def save_checkpoint(
    file: Path,
    module: nn.Module,
    optimizers: Sequence[Optimizer],
    carried: Sequence[Tensor],
    progress: Mapping[str, Any],
) -> None:
    """Write weights, optimiser states, carried state and random state; the old file stays until that is done.

    Args:
        file: Where; its folder is made.
        module: The network in training.
        optimizers: Its optimisers.
        carried: What the objective carries to the next batch.
        progress: Plain values (step, identity, losses), written as JSON into the file's header.

    Raises:
        RunError: The file cannot be written (disk full, no permission).
    """
    tensors = {f"module.{name}": value for name, value in _own_tensors(module).items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in state.items()}
    tensors |= {f"carried.{number}": value.detach() for number, value in enumerate(carried)}
    tensors["random"] = torch.get_rng_state()
    content = save(
        {name: value.contiguous() for name, value in tensors.items()},
        {"progress": orjson.dumps(dict(progress)).decode()},
    )
    try:
        _replace(file, content)
    except OSError as error:
        raise RunError(f"{file}: {error.strerror}", "make room and run the same command to resume") from error


def read_progress(file: Path, identity: Identity) -> dict[str, Any] | None:
    """Return the plain values of a checkpoint, or None where there is none.

    Raises:
        RunError: The file is unreadable, or belongs to another training; the message names what differs.
    """
    if not file.exists():
        return None
    try:
        with safetensors.safe_open(file, framework="pt") as content:
            progress: dict[str, Any] = orjson.loads((content.metadata() or {}).get("progress", ""))
    except (OSError, safetensors.SafetensorError, orjson.JSONDecodeError) as error:
        raise RunError(f"{file}: not a checkpoint: {error}", "delete it to start anew") from error
    before = progress["identity"]
    differing = [name for name in identity if before.get(name) != identity[name]]
    if differing:
        raise RunError(
            f"{file.parent.parent} holds a training with another {', '.join(differing)}",
            "choose another folder, or delete that one",
        )
    return progress


def restore_checkpoint(file: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> tuple[Tensor, ...]:
    """Put a checkpoint back into network, optimisers and torch's random state; return the carried state."""
    tensors = load_file(file)
    with torch.no_grad():
        for name, value in _own_tensors(module).items():
            value.copy_(tensors[f"module.{name}"])
    for number, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, *place = name.split(".")
            if kind == "optimizer" and place[0] == str(number):
                states.setdefault(int(place[1]), {})[place[2]] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    torch.set_rng_state(tensors["random"])
    device = next(module.parameters()).device
    count = sum(name.startswith("carried.") for name in tensors)
    return tuple(tensors[f"carried.{number}"].to(device) for number in range(count))


def sha256_of_documents(documents: Sequence[TokenIds]) -> str:
    """Return the identity of a corpus: its ids, its documents' borders and their order."""
    digest = hashlib.sha256(np.array([len(document) for document in documents], np.int64).tobytes())
    for document in documents:
        digest.update(np.ascontiguousarray(document, dtype=np.int32).tobytes())
    return digest.hexdigest()


def sha256_of_weights(module: nn.Module) -> str:
    """Return the identity of a network: names, shapes and values of its parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in _own_tensors(module).items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and saved buffers, each tied tensor under one name only."""
    kept = module.state_dict().keys()
    buffers = {name: value for name, value in module.named_buffers() if name in kept}
    return {**dict(module.named_parameters()), **buffers}


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
