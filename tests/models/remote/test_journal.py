"""What a run keeps of a server: whatever tears the file, what stood in it whole is known, and nothing else is."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import RunError
from memaudit.models.remote.journal import ANSWERS, Journal, Spent, digest
from tests.models.remote import asking
from tests.models.remote.proxy import Proxy, Seen
from tests.models.remote.servers import LOOPBACK, llama_cpp

KEYS = [digest("/completions", b"%d" % number, 0) for number in range(8)]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.builds(Spent, st.integers(0, 3), st.integers(-50, 10**6), st.integers(0, 1))
STEPS = st.lists(
    st.tuples(st.none(), st.none(), NUMBERS) | st.tuples(st.sampled_from(KEYS), VALUES, NUMBERS), min_size=1, max_size=8
)
Step = tuple[str | None, object, Spent]


def do(journal: Journal, steps: list[Step]) -> None:
    for key, value, spent in steps:
        if key is None:
            journal.note(spent)
        else:
            journal.keep(key, orjson.dumps(value), spent)


def known(journal: Journal) -> dict[str, bytes]:
    return {key: found for key in KEYS if (found := journal.find(key)) is not None}


def test_every_part_of_a_question_tells_it_apart() -> None:
    asked = [("/a", b"{}", 0), ("/a", b"{}", 1), ("/a", b"{ }", 0), ("/b", b"{}", 0), ("/a\n0", b"{}", 0)]
    assert len({digest(*one) for one in asked}) == len(asked)
    assert digest("/a", b"{}", 0) == digest("/a", b"{}", 0)


@settings(max_examples=60, deadline=None)
@given(STEPS, STEPS, st.data())
def test_a_file_torn_anywhere_holds_what_stood_before(
    before: list[Step], after: list[Step], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        states: list[tuple[int, Spent, dict[str, bytes]]] = [(0, Spent(), {})]
        journal = Journal()
        journal.keep_in(folder)
        for step in before:
            do(journal, [step])
            states.append(((folder / ANSWERS).stat().st_size, journal.spent, known(journal)))
        journal.close()
        length = data.draw(st.integers(0, states[-1][0]))
        os.truncate(folder / ANSWERS, length)
        _, spent, answers = [state for state in states if state[0] <= length][-1]
        again = Journal()
        again.keep_in(folder)
        assert (again.spent, known(again)) == (spent, answers)
        do(again, after)
        wanted = (again.spent, known(again))
        again.close()
        third = Journal()
        third.keep_in(folder)
        assert (third.spent, known(third)) == wanted
        assert all(wanted[1][key] == value for key, value in answers.items()), "the first answer stays"
        third.close()


@settings(max_examples=60, deadline=None)
@given(STEPS, st.data())
def test_a_damaged_byte_is_named(steps: list[Step], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal()
        journal.keep_in(folder)
        do(journal, steps)
        journal.note(Spent(1, 1, 0))
        journal.close()
        content = bytearray((folder / ANSWERS).read_bytes())
        place = data.draw(st.integers(0, len(content) - 2))  # without the last newline, a line is but torn
        content[place] ^= data.draw(st.integers(1, 255))
        (folder / ANSWERS).write_bytes(content)
        again = Journal()
        with pytest.raises(RunError, match=rf"{ANSWERS}:\d+: damaged .*delete the folder|no record"):
            again.keep_in(folder)
        assert (folder / ANSWERS).read_bytes() == content, "nothing is cut off"


def test_what_was_held_in_memory_goes_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second = Journal(), Journal()
    for journal, value in ((first, b"[1]"), (second, b"[2]")):
        journal.note(Spent(1, 10, 0), "fp")
        journal.keep(KEYS[0], value, Spent(0, -2, 0))
        assert journal.find(KEYS[0]) == value
        journal.keep_in(tmp_path / "a")
        journal.keep_in(tmp_path / "a")
        journal.close()
    assert second.spent == Spent(2, 16, 0)
    third = Journal()
    third.keep_in(tmp_path / "a")
    assert (third.spent, third.fingerprint, third.find(KEYS[0])) == (Spent(2, 16, 0), "fp", b"[1]")
    assert third.find(KEYS[1]) is None
    third.close()
    assert (tmp_path / "a" / ANSWERS).stat().st_mode & 0o777 == 0o600


def test_what_a_run_has_spent_is_counted_before_it_is_gone_on_with(tmp_path: Path) -> None:
    first = Journal()
    first.count(tmp_path)
    first.keep_in(tmp_path / "run")
    first.note(Spent(10, 100, 1), "fp")
    first.close()
    content = (tmp_path / "run" / ANSWERS).read_bytes()
    for gone_on_with in (tmp_path / "other", tmp_path / "run"):
        second = Journal()
        for _ in range(2):
            second.count(tmp_path / "run")
        assert second.spent == Spent(10, 100, 1)
        second.note(Spent(1, 1, 0))
        assert (tmp_path / "run" / ANSWERS).read_bytes() == content
        second.keep_in(gone_on_with)
        assert second.spent == (Spent(11, 101, 1) if gone_on_with.name == "run" else Spent(1, 1, 0))
        second.close()


def test_each_run_has_its_own(tmp_path: Path) -> None:
    journal = Journal()
    journal.keep_in(tmp_path / "a")
    journal.note(Spent(1, 1, 0), "fp")
    journal.keep(KEYS[0], b"1", Spent())
    journal.keep_in(tmp_path / "b")
    assert (journal.spent, journal.fingerprint, journal.find(KEYS[0])) == (Spent(), "fp", None)
    journal.note(Spent(2, 2, 0))
    journal.keep_in(tmp_path / "a")
    assert (journal.spent, journal.find(KEYS[0])) == (Spent(1, 1, 0), b"1")
    journal.close()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write answers.log: No such file"):
        Journal().keep_in(tmp_path / "none" / "at all")
    journal = Journal()
    journal.keep_in(tmp_path)
    journal.note(Spent(1, 1, 0))
    size = (tmp_path / ANSWERS).stat().st_size
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, journal._file)
    os.close(full)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "ftruncate", lambda *_: None)
        with pytest.raises(RunError, match=r"no space writing answers.log; rerun to resume"):
            journal.keep(KEYS[0], b"1", Spent(1, 1, 0))
    assert journal.spent == Spent(1, 1, 0)
    journal.close()
    assert (tmp_path / ANSWERS).stat().st_size == size


def test_a_line_that_was_damaged_later_is_not_believed(tmp_path: Path) -> None:
    journal = Journal()
    journal.keep_in(tmp_path)
    journal.keep(KEYS[0], b"[12345]", Spent())
    content = (tmp_path / ANSWERS).read_bytes()
    (tmp_path / ANSWERS).write_bytes(content.replace(b"12345", b"12346"))
    with pytest.raises(RunError, match="damaged while it was in use"):
        journal.find(KEYS[0])
    journal.close()


def test_many_threads_write_one_file(tmp_path: Path) -> None:
    journal = Journal()
    journal.keep_in(tmp_path)

    def work(own: int) -> None:
        for number in range(50):
            journal.note(Spent(1, 2, 0))
            journal.keep(digest("/", b"%d" % number, own % 4), orjson.dumps("x" * own), Spent(0, -1, 0))

    threads = [threading.Thread(target=work, args=(own,)) for own in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    again = Journal()
    again.keep_in(tmp_path)
    assert again.spent == journal.spent == Spent(400, 400, 0)
    assert all(again.find(digest("/", b"%d" % number, own)) for number in range(50) for own in range(4))
    again.close()


KILLS, COUNT = 20, 90


def test_a_run_that_is_killed_twenty_times_asks_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv(LOOPBACK, "1")
    chance = random.Random(1)
    folder = tmp_path / "run"
    folder.mkdir()
    with llama_cpp(asking.tiny(), context=64) as server, Proxy(server) as proxy:
        command = [sys.executable, asking.__file__, proxy.url, str(folder), str(COUNT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as asker:
            assert asker.stdin is not None
            assert asker.stdout is not None
            kills, known = 0, set[str]()
            while True:
                before = len(proxy.posts)
                asker.stdin.write("\n")
                asker.stdin.flush()
                child = int(asker.stdout.readline())
                if kills < KILLS:
                    wanted = before + chance.randrange(6)
                    while len(proxy.seen) < wanted and Path(f"/proc/{child}").exists():
                        time.sleep(0.003)
                    time.sleep(chance.uniform(0, 0.01))
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                    kills += 1
                ended = int(asker.stdout.readline())
                asked = {key_of(one) for one in proxy.posts[before:]}
                assert not asked & known, "what stood in the journal was asked again"
                known, spent = kept_in(folder, tmp_path / "copy")
                assert spent.requests >= len(proxy.posts)
                if not ended:
                    break
            asker.stdin.close()
        assert kills == KILLS
        with asking.transport(server) as undisturbed, asking.transport(proxy.url) as resumed:
            resumed.keep_in(folder)
            total = len(proxy.posts)
            assert asking.ask_all(resumed, COUNT) == asking.ask_all(undisturbed, COUNT)
            assert len(proxy.posts) == total
        assert len(known) == COUNT
        assert total <= COUNT + 2 * KILLS, "two were under way at each kill"


def key_of(seen: Seen) -> str:
    return digest(asking.PATH, orjson.dumps(seen.asked, option=orjson.OPT_SORT_KEYS), 0)


def kept_in(folder: Path, copy: Path) -> tuple[set[str], Spent]:
    """Return what a journal holds whole; the file itself is left as the kill left it."""
    copy.mkdir(exist_ok=True)
    if not (folder / ANSWERS).exists():
        return set(), Spent()
    shutil.copy(folder / ANSWERS, copy / ANSWERS)
    journal = Journal()
    journal.keep_in(copy)
    journal.close()
    return {key.hex() for key in journal._places}, journal.spent
