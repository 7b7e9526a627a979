"""A real server that gives text alone: the verdict about a model behind it is the one about its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.reconstruction.run import reconstruct
from memaudit.models.loading.load import load_model
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.model import RemoteModel
from memaudit.records import Decoding
from tests.models.remote.learnt import PREFIX, SUFFIX, learnt
from tests.models.remote.servers import LOOPBACK, transformers_serve

LIMIT = 24
"""Windows a side."""
OPTIONS = AuditOptions(prefix=PREFIX, suffix=SUFFIX, max_rate=0.2, limit=LIMIT, copies=False, fuzzy=False)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOOPBACK, "1")
        with transformers_serve(learnt().folder) as address:
            yield address


def endpoint() -> Endpoint:
    return Endpoint(tokenizer=str(learnt().folder), recital=str(learnt().train))


def report_of(model: str, out: Path, **how: Any) -> Any:
    return audit(model, str(learnt().train), str(learnt().heldout), out=out, options=OPTIONS, formats=(), **how).report


def test_the_verdict_is_that_of_the_folder(address: str, tmp_path: Path) -> None:
    theirs = report_of(address, tmp_path / "theirs", endpoint=endpoint())
    ours = report_of(str(learnt().folder), tmp_path / "ours")
    assert theirs["verdict"] == ours["verdict"] == "found"
    rates = [{side: report["estimates"][0][side]["hits"] for side in ("train", "heldout")} for report in (theirs, ours)]
    assert rates[0] == rates[1] == {"train": LIMIT, "heldout": 0}
    controls = {control["name"]: control for control in theirs["controls"]}
    assert controls["one start token before every text"]["passed"]
    assert "written before the text" in controls["one start token before every text"]["detail"]
    noise = controls["the same answers alone and in company"]
    assert noise["passed"] and "continuations differ" in noise["detail"]
    assert theirs["model"]["endpoint"]["sends"] == "text"


def test_samples_and_works_are_written(address: str, tmp_path: Path) -> None:
    model = load_model(address, endpoint=endpoint())
    assert isinstance(model, RemoteModel)
    prompt = model.tokenizer.encode_batch(["The "])[0].ids
    drawn = model.continuations([prompt] * 3, 8, Decoding(1.0, seed=1))
    assert len({each.tobytes() for each in drawn}) > 1
    assert all(map(np.array_equal, drawn, model.continuations([prompt] * 3, 8, Decoding(1.0, seed=1))))
    known = learnt().train.read_text().splitlines()[0]
    (tmp_path / "work.jsonl").write_text(known)
    models = {"theirs": model, "ours": str(learnt().folder)}
    found = {
        name: reconstruct(each, str(tmp_path / "work.jsonl"), out=tmp_path / name, seed_tokens=20, formats=()).report
        for name, each in models.items()
    }
    [theirs], [ours] = found["theirs"]["works"], found["ours"]["works"]
    assert theirs["recall"] == ours["recall"]
    assert theirs["given"][0]["alike"] == ours["given"][0]["alike"] > 10
    model.transport.close()
