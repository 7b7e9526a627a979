"""Steps of training, by which checkpoints are called: ``checkpoint-500``, ``ID@step1000``, ``iter_0001000``."""

from __future__ import annotations

import re

_STEP = re.compile(r"(?<![A-Za-z])(?:checkpoint|ckpt|steps?|iter)[-_ ]?(\d{1,15})(?![0-9A-Za-z.])", re.IGNORECASE)


def step_of_name(name: str) -> int | None:
    """Return the step that the end of a path, or a revision, names; None where it names none."""
    found = _STEP.findall(name.rstrip("/").rpartition("/")[2])
    return int(found[-1]) if found else None
