"""Text that a work and a control work both hold is in no test; a control that is the work itself is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.shared import MOST, shared_control, shared_windows
from memaudit.audits.work.texts import WholeWork, read_works
from memaudit.text.corpus.objects import listed
from memaudit.text.tokenize import Tokenizer, train_tokenizer

SIZE = 2000
OPTIONS = WorkOptions(prefix=10, suffix=10, stride=3)
rng = np.random.default_rng(3)


def words(count: int) -> list[str]:
    return ["".join(rng.choice(list("abcdefghijklmn"), 5)) for _ in range(count)]


BOOK, OTHER, LICENCE = words(SIZE), words(SIZE), words(60)


def read(folder: Path, texts: dict[str, list[str]], tokenizer: Tokenizer | None = None) -> list[WholeWork]:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(" ".join(text))
    asked = [str(folder / f"{name}.txt") for name in texts if not name.startswith("control")]
    others = [str(folder / f"{name}.txt") for name in texts if name.startswith("control")]
    known = tokenizer or train_tokenizer("char", [" ".join(text) for text in texts.values()])
    works, *_ = read_works(listed(asked, "text"), listed(others, "heldout"), known, OPTIONS)
    return works


def brute_force(one: WholeWork, other: WholeWork, length: int) -> list[bool]:
    """Return which windows of one work hold a token of a run of ``length`` that the other holds too."""
    runs = {tuple(other.ids[i : i + length].tolist()) for i in range(len(other.ids) - length + 1)}
    tokens = np.zeros(len(one.ids), bool)
    for i in range(len(one.ids) - length + 1):
        tokens[i : i + length] |= tuple(one.ids[i : i + length].tolist()) in runs
    return [bool(tokens[at * 3 : at * 3 + 20].any()) for at in range(one.windows)]


def test_a_licence_in_both_is_set_aside_and_nothing_else(tmp_path: Path) -> None:
    works = read(tmp_path, {"book": BOOK + LICENCE, "control": LICENCE + OTHER})
    shared = shared_windows(works)
    assert [flags.tolist() for flags in shared] == [brute_force(*works, 50), brute_force(works[1], works[0], 50)]
    assert all(0 < flags.mean() < 0.05 for flags in shared)
    control = shared_control(works, shared)
    assert control.passed and "of the windows of control; these and" in control.detail


@pytest.mark.parametrize("kind", ["word", "char"])
def test_typography_hides_no_shared_text(tmp_path: Path, kind: str) -> None:
    typeset = [word.upper() + "," for word in LICENCE]
    texts = {"book": BOOK + LICENCE, "control": OTHER + typeset}
    tokenizer = train_tokenizer(kind, [" ".join(text) for text in texts.values()])
    works = read(tmp_path, texts, tokenizer)
    ours, theirs = shared_windows(works)
    assert ours[-1] and theirs[-1] and not ours[: len(ours) // 2].any() and not theirs[: len(theirs) // 2].any()


def test_unknown_text_is_not_shared(tmp_path: Path) -> None:
    works = read(tmp_path, {"book": BOOK, "control": OTHER}, train_tokenizer("word", [" ".join(LICENCE)]))
    assert all((work.ids == work.unknown).mean() > 0.4 for work in works)
    assert not any(flags.any() for flags in shared_windows(works))


def test_the_work_itself_is_no_control(tmp_path: Path) -> None:
    works = read(tmp_path, {"book": BOOK, "control-1": OTHER, "control-2": BOOK[:1000] + words(1000)})
    shared = shared_windows(works)
    assert not shared[1].any() and shared[2].mean() > MOST
    control = shared_control(works, shared)
    assert control.passed is False and "control-2: the same work" in control.detail


def test_works_alone_and_works_that_share_nothing(tmp_path: Path) -> None:
    works = read(tmp_path, {"book": BOOK, "second": BOOK + LICENCE})
    shared = shared_windows(works)
    assert not any(flags.any() for flags in shared)
    assert shared_control(works, shared).passed is None
    works = read(tmp_path, {"book": BOOK, "control": OTHER})
    control = shared_control(works, shared_windows(works))
    assert (control.passed, control.detail) == (True, "no text is shared")
