"""Signals at random moments of a piece of work, and tails torn off its log: is anything lost, or done twice?"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from memaudit.runs.directory import read_items
from tests.faults.workloads import TRAINING, Work

TORN = 400
"""Most bytes torn off a log: the last write and a part of the one before it never both went missing on a disk."""


@dataclass
class Tally:
    """What a storm did, and what was wrong after it; ``wrong`` must stay empty."""

    blows: int = 0
    tails: int = 0
    finished: int = 0
    wrong: list[str] = field(default_factory=list)


def storm(
    work: Work, folder: Path, calm: dict[str, bytes], blows: int, seed: int, *, tear: bool = True, gentle: bool = False
) -> Tally:
    """Stop a work again and again until so many blows have hit, letting it come to its end in between.

    Args:
        work: What is stopped.
        folder: With what it needs.
        calm: Its results when nothing disturbs it.
        blows: Signals that must hit.
        seed: Fixes moments and tails as far as a busy machine lets it.
        tear: Whether the log loses bytes after a blow, as if the power had failed within a write.
        gentle: SIGINT and SIGTERM instead of SIGKILL.
    """
    lot, tally = random.Random(seed), Tally()
    log = folder / work.out / "items.log"
    shutil.rmtree(folder / work.out, ignore_errors=True)
    started = time.monotonic()
    work.run(folder)
    whole = time.monotonic() - started
    shutil.rmtree(folder / work.out)
    while tally.blows < blows and not tally.wrong:
        before = log.read_bytes() if log.exists() else b""
        number = lot.choice([signal.SIGINT, signal.SIGTERM]) if gentle else signal.SIGKILL
        code = _stopped(work, folder, number, lot.uniform(0, 1.05 * whole))
        after = log.read_bytes() if log.exists() else b""
        if not after.startswith(before[: before.rfind(b"\n") + 1]):
            tally.wrong.append(f"{work.name}: finished items are gone from the log")
        if code in (-number, 128 + number):
            tally.blows += 1
            tally.wrong += _said(work, folder, code)
            if tear and after and not gentle:
                os.truncate(log, max(0, len(after) - lot.randrange(1, TORN)))
                tally.tails += 1
        elif code in (0, 1):
            tally.finished += 1
            tally.wrong += differences(work, folder, calm)
            shutil.rmtree(folder / work.out)
        else:
            tally.wrong.append(f"{work.name}: exit {code}: {(folder / 'stderr.txt').read_text()[-300:]}")
    work.run(folder)
    tally.wrong += differences(work, folder, calm)
    return tally


def differences(work: Work, folder: Path, calm: dict[str, bytes]) -> list[str]:
    """Return which results differ from those of an undisturbed run, and whether items were lost or doubled."""
    missing = [name for name in calm if not (folder / work.out / name).exists()]
    if missing:
        return [f"{work.name}: {', '.join(missing)} missing: {(folder / 'stderr.txt').read_text()[-300:]}"]
    found = work.bytes_of(folder)
    wrong = [f"{work.name}: {name} has other bytes" for name, content in calm.items() if found[name] != content]
    if work is not TRAINING:
        lines = found["items.log"].count(b"\n")
        if lines != len(read_items(folder / work.out)):
            wrong.append(f"{work.name}: {lines} lines for {len(read_items(folder / work.out))} items")
    return wrong


def _stopped(work: Work, folder: Path, number: int, after: float) -> int:
    child = work.started(folder)
    time.sleep(after)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _said(work: Work, folder: Path, code: int) -> list[str]:
    """Return what is wrong with the last words of a work that was asked to stop."""
    if code < 0:
        return []
    words = (folder / "stderr.txt").read_text()
    good = "Traceback" not in words and "finished work is kept, resume with: memaudit " in words.splitlines()[-1]
    return [] if good else [f"{work.name}: {words[-300:]}"]
