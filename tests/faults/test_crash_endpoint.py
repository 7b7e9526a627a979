"""A model behind an address, through faults and kills: the same report, and nothing answered is asked again."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import memaudit
from memaudit.models import remote
from memaudit.models.remote import waits
from memaudit.models.remote.journal import ANSWERS
from memaudit.runs.files import compact_json
from tests.faults.workloads import Work, prepare
from tests.models.remote.asking import tiny
from tests.models.remote.proxied import Proxied, proxied
from tests.models.remote.proxy import FAULTS
from tests.models.remote.servers import LOOPBACK, llama_cpp

pytest.importorskip("xllamacpp")

DOCUMENTS = 12
KILLS = 20
CONNECTIONS = 3
RESULTS = ("report.json", "plan.json")


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with llama_cpp(tiny(), context=64) as address, proxied(address, hang=3.0) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def work(proxy: Proxied, tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, Path]:
    folder = tmp_path_factory.mktemp("endpoint")
    warm_up(folder / "other")
    lot = np.random.default_rng(0)
    for side in ("train", "heldout"):
        texts = [" ".join(f"{lot.integers(10**6):x}" for _ in range(10)) for _ in range(DOCUMENTS)]
        (folder / f"{side}.jsonl").write_bytes(b"".join(compact_json({"text": text}) + b"\n" for text in texts))
    arguments = (
        *("audit", proxy.url, "--tokenizer", str(tiny().parent / "model"), "--connections", str(CONNECTIONS)),
        *("--timeout", "1.5", "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "12"),
        *("--suffix", "10", "--out", "run", "--format", "json"),
    )
    return Work("endpoint", arguments, "run", RESULTS), folder


@pytest.fixture(scope="module")
def calm(work: tuple[Work, Path]) -> dict[str, bytes]:
    what, folder = work
    assert what.run(folder, hasty) == 3, (folder / "stderr.txt").read_text()
    results = what.bytes_of(folder)
    shutil.rmtree(folder / "run")
    return results


def warm_up(folder: Path) -> None:
    """Load in this process what an audit loads on its first use: its forks find it in their memory."""
    importlib.import_module("httpx2")
    for module in pkgutil.walk_packages(remote.__path__, f"{remote.__name__}."):
        importlib.import_module(module.name)
    prepare(folder)
    sides = (str(folder / f"{name}.jsonl") for name in ("train", "heldout"))
    memaudit.audit(folder / "model", *sides, out=folder / "run", prefix=8, suffix=8, limit=4)


def hasty() -> None:
    """Reach this machine, and wait next to nothing."""
    os.environ[LOOPBACK] = "1"
    waits.FIRST = waits.BAD_FIRST = 1e-3  # type: ignore[misc]
    waits.LONGEST = 1e-2  # type: ignore[misc]


def test_ten_faults_in_a_twentieth_of_all_requests_each_leave_the_report_as_it_is(
    work: tuple[Work, Path], calm: dict[str, bytes], proxy: Proxied
) -> None:
    what, folder = work
    proxy.passed()
    proxy.commit(FAULTS, 0.05, seed=1)
    try:
        assert what.run(folder, hasty) == 3, (folder / "stderr.txt").read_text()
    finally:
        proxy.commit((), 0.0)
    assert {one.fault for one in proxy.passed()} == {"", *FAULTS}
    assert what.bytes_of(folder) == calm
    shutil.rmtree(folder / "run")


def test_killed_at_random_moments_nothing_answered_is_asked_again(
    work: tuple[Work, Path], calm: dict[str, bytes], proxy: Proxied
) -> None:
    what, folder = work
    lot = random.Random(3)
    started = time.monotonic()
    what.run(folder, hasty)
    whole = time.monotonic() - started
    shutil.rmtree(folder / "run")
    proxy.passed()
    kills = again = 0
    known: set[str] = set()
    while kills < KILLS:
        child = what.started(folder, hasty)
        time.sleep(lot.uniform(0.2, 1.0) * whole)
        os.kill(child, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        asked = [one for one in proxy.passed() if one.whole]
        again += sum(one.key in known for one in asked)
        known = answered(folder)
        kills += killed
        if not killed:
            assert what.bytes_of(folder) == calm
            shutil.rmtree(folder / "run")
            known = set()
    assert again == 0
    assert what.run(folder, hasty) == 3
    assert not known & {one.key for one in proxy.passed()}
    assert what.bytes_of(folder) == calm


def answered(folder: Path) -> set[str]:
    """Return the keys of all answers that a run keeps in whole lines."""
    log = folder / "run" / ANSWERS
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    heads = [json.loads(line[9:].partition(b"\t")[0]) for line in lines if line.endswith(b"\n")]
    return {head["key"] for head in heads if "key" in head}
