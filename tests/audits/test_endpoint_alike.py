"""A hundred windows of a model on this machine, and of the same one behind llama.cpp: the same audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memaudit
from memaudit.audits.extraction.result import Audit
from memaudit.errors import EndpointError
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import load_model
from memaudit.models.remote.address import Endpoint
from memaudit.records import Window, WindowRecord
from tests.models.remote.learnt import KNOWN, PREFIX, SUFFIX, UNSEEN, learnt
from tests.models.remote.proxy import Proxy
from tests.models.remote.servers import LOOPBACK, llama_cpp

pytest.importorskip("xllamacpp")

CLOSE = 1e-4
OPTIONS: dict[str, Any] = {"prefix": PREFIX, "suffix": SUFFIX, "max_rate": 0.2}


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOOPBACK, "1")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with llama_cpp(learnt().gguf, context=96, slots=4) as address:
        yield address


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(tokenizer=str(learnt().folder))


def audited(model: object, out: Path, **how: Any) -> Audit:
    sides = str(learnt().train), str(learnt().heldout)
    return memaudit.audit(model, *sides, out=out, formats=(), **OPTIONS, **how)


def test_ids_verdict_ranks_and_log_probabilities_are_the_same(address: str, endpoint: Endpoint, tmp_path: Path) -> None:
    ours = audited(str(learnt().folder), tmp_path / "local")
    remote = load_model(address, endpoint=endpoint)
    theirs = audited(remote, tmp_path / "endpoint")
    assert (theirs.report["verdict"], theirs.report["exit_code"]) == ("found", 1)
    assert theirs.report["reasons"] == ours.report["reasons"]
    assert theirs.report["estimates"] == ours.report["estimates"]
    assert all(control["passed"] for control in theirs.report["controls"])
    assert len(theirs.records) == len(ours.records) == KNOWN + UNSEEN
    for told, true in zip(theirs.records, ours.records, strict=True):
        assert told.continuation_ids == true.continuation_ids
        assert told.matched == true.matched
        assert told.log_prob == pytest.approx(true.log_prob, abs=CLOSE * SUFFIX)
    assert theirs.report["model"]["parameters"] is None
    assert (tmp_path / "endpoint" / "answers.log").stat().st_mode & 0o777 == 0o600

    windows = [window_of(record) for record in ours.records]
    local = load_model(str(learnt().folder))
    true, told = local.score(windows), remote.score(windows)  # answered before
    assert np.array_equal(told.rank == 0, true.rank == 0)
    others = np.flatnonzero(told.rank != true.rank)
    assert len(others) <= 3
    for row in others:  # neighbours far down, which rounding alone tells apart
        assert abs(int(told.rank[row]) - int(true.rank[row])) <= neighbours(local, windows, int(row))
    np.testing.assert_allclose(told.log_prob, true.log_prob, atol=CLOSE)
    np.testing.assert_allclose(told.mean, true.mean, atol=1e-3)
    assert np.array_equal(remote.screen(windows), local.screen(windows))


def test_a_finished_run_is_read_again_without_asking_what_was_answered(
    address: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    how = {"limit": 8, "endpoint": endpoint}
    first = audited(address, tmp_path / "run", **how)
    answers = (tmp_path / "run" / "answers.log").read_bytes()
    kept = answers.count(b'"key"')
    assert kept >= 2 * 8
    again = audited(address, tmp_path / "run", **how)
    assert again.report == first.report
    assert (tmp_path / "run" / "answers.log").read_bytes().count(b'"key"') == kept


def test_a_budget_is_that_of_all_sessions_the_probe_of_a_resumed_one_included(
    address: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    with Proxy(address) as proxy:
        for most in (70, 70, 80):
            few = dataclasses.replace(endpoint, max_requests=most)
            with pytest.raises(EndpointError, match=rf"the budget is used up: {most} of {most} requests"):
                audited(proxy.url, tmp_path / "run", endpoint=few, limit=10)
            assert len(proxy.seen) == most
        enough = dataclasses.replace(endpoint, max_requests=2000)
        assert audited(proxy.url, tmp_path / "run", endpoint=enough, limit=10).report["complete"]


def test_a_model_that_is_exchanged_during_a_session_ends_the_run_for_good(
    address: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    with Proxy(address) as proxy:

        def exchanged(path: str, body: Any) -> Any:
            """Answer as another model would, once the windows are asked: to another prompt, that is as long."""
            late = len(proxy.posts) > 80 and isinstance(body.get("prompt"), list)
            return {**body, "prompt": [body["prompt"][0], *body["prompt"][:0:-1]]} if late else body

        proxy.change_request = exchanged
        for _ in range(2):
            with pytest.raises(EndpointError, match="another model answers at the end of a session"):
                audited(proxy.url, tmp_path / "run", endpoint=endpoint, limit=10)
            proxy.change_request = None  # the first one again: what was answered is still of both
        assert not (tmp_path / "run" / "report.json").exists()
        assert audited(proxy.url, tmp_path / "other", endpoint=endpoint, limit=10).report["complete"]


def neighbours(local: LanguageModel, windows: list[Window], row: int) -> int:
    """Return how many tokens are as likely as the true one in a place, up to what rounding moves."""
    window, at = windows[row // SUFFIX], row % SUFFIX
    [log_probs] = local.next_log_probs([np.concatenate([window.prefix, window.suffix[:at]])])
    return int((np.abs(log_probs - log_probs[window.suffix[at]]) < 2 * CLOSE).sum()) - 1


def window_of(record: WindowRecord) -> Window:
    return Window(np.array(record.prefix_ids, np.int32), np.array(record.suffix_ids, np.int32))
