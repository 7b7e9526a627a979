"""Several models asked the same one after the other, over the same windows: checkpoints of a training, as a rule."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from memaudit.audits.result import VerdictResult
from memaudit.errors import InputError, ModelError
from memaudit.models.remote.address import is_address
from memaudit.report.compare import refuse_foreign
from memaudit.runs.files import PLAN
from memaudit.runs.steps import step_of_name

PAGE = "compare.html"
LONGEST = 100
"""Characters of the name of a run directory."""
WORST_FIRST = (1, 3, 0)
"""Exit codes of verdicts: found, inconclusive, clean."""
Result = TypeVar("Result", bound=VerdictResult[Any])


def run_several(
    models: Sequence[str],
    out: Path,
    one: Callable[[str, Path], Result],
    windows: Callable[[Result], str],
    told: Callable[[Result], None],
) -> tuple[list[Path], int]:
    """Audit each model in a folder of its own; what is finished there is not measured again.

    A model is let go of before the next is loaded.

    Args:
        models: What `memaudit.load_model` takes; where all names say a step, the order is that of the steps.
        out: Folder of the runs.
        one: Audits a model into a run directory.
        windows: Returns what identifies the windows of an audit.
        told: Called with every audit that is finished.

    Returns:
        The run directories, and the exit code of the worst verdict: found before inconclusive before clean.

    Raises:
        InputError: A model is named twice, or ``out`` is no folder of such runs.
        ModelError: A model cuts other windows than the first.
    """
    names = run_names(models)
    if (out / PLAN).exists():
        raise InputError(f"{out}: holds a run of its own", "several models need another --out")
    refuse_foreign(out / PAGE)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    steps = [step_of_name(model) for model in models]
    order = range(len(models))
    if None not in steps:
        order = sorted(order, key=lambda at: steps[at] or 0)  # type: ignore[assignment]
    codes, first = set(), ""
    for at in order:
        result = one(models[at], out / names[at])
        told(result)
        codes.add(result.exit_code)
        found = windows(result)
        if first not in ("", found):
            raise ModelError(
                f"{models[at]}: its tokenizer cuts other windows than that of {models[order[0]]}",
                "windows are cut on tokens: only models of one vocabulary are compared",
            )
        first = found
    return [out / names[at] for at in order], next(code for code in WORST_FIRST if code in codes)


def run_names(models: Sequence[str]) -> list[str]:
    """Return how the run directories are called: by the ends of the models' names, or else by the whole of them.

    Raises:
        InputError: A model is named twice.
    """
    places = [os.path.normpath(model) for model in models]
    for at, model in enumerate(models):
        if places[at] in places[:at]:
            raise InputError(f"{model}: named twice", "name each model once")
    ends_of = [model if is_address(model) else model.rstrip("/").rpartition("/")[2] for model in models]
    for ends in (ends_of, models):
        names = [_plain(end) for end in ends]
        if len(set(names)) == len(names):
            return names
    return [
        f"{name[: LONGEST - 9]}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
        for name, model in zip(names, models, strict=True)
    ]


def _plain(name: str) -> str:
    """Return a name as a folder may be called; nothing in it leads elsewhere."""
    return re.sub(r"[^A-Za-z0-9_.@+=-]+", "-", name).lstrip(".-")[-LONGEST:] or "model"
