"""Text that attacks and inputs that break: disguises, fuzzed corpora, bombs, payloads.

A part of what ``benchmarks/faults_evasion.py`` and ``benchmarks/faults_fuzz.py`` try in full.
"""

from __future__ import annotations

import io
import json
import re
import resource
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from memaudit.audits.contamination.run import contamination
from memaudit.errors import ModelError
from memaudit.report.contamination_terminal import print_contamination
from memaudit.text.chat.rendering import Renderer
from tests.faults.bombs import BOMBS, read_all
from tests.faults.corpora import FuzzedCorpus, corpora
from tests.faults.disguises import ALPHABETS, ANY_SCRIPT, EVERY, TWELVE, clean_texts, found_items, hidden_in, passages
from tests.faults.isolation import isolated
from tests.faults.payloads import payloads
from tests.faults.tampering import MEBIBYTES, SECONDS
from tests.faults.templates import RUNAWAY
from tests.report.rendered import step_summary, workflow_commands


def test_twelve_disguises_hide_nothing(tmp_path: Path) -> None:
    texts = passages(48)
    for number, (name, disguise) in enumerate(TWELVE.items()):
        items, decoys = texts[:24], texts[24:]
        corpus = [hidden_in(disguise(text), i) for i, text in enumerate(items)]
        assert found_items(items, corpus, tmp_path / str(number)) == len(items), name
        assert found_items(decoys, corpus, tmp_path / f"{number}-decoys") == 0, name


@pytest.mark.parametrize("script", ALPHABETS)
def test_clean_text_of_other_scripts_is_not_accused(script: str, tmp_path: Path) -> None:
    items = clean_texts(script, 40, seed=1)
    assert found_items(items, clean_texts(script, 200, seed=2), tmp_path / "clean") == 0
    # Another disguise for every passage: what one of them hides would be missed.
    hidden = [hidden_in(EVERY[ANY_SCRIPT[i % len(ANY_SCRIPT)]](text), i) for i, text in enumerate(items)]
    assert found_items(items, hidden, tmp_path / "found") == len(items)


@given(corpora)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_record_is_lost_and_every_error_names_its_line(corpus: FuzzedCorpus) -> None:
    with tempfile.TemporaryDirectory() as name:
        assert corpus.faults(Path(name)) == []


QUICK = ["zstd to 1 GiB", "gzip of 2,048 members", "holes of 1 GiB as lines", "holes as Parquet", "nested 100,000 deep",
         "an array 100,000 deep", "a number of a million digits", "a zip archive that leaves its folder", "a pipe",
         "an endless device"]  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_bombs_are_refused_by_name_and_soon(name: str, tmp_path: Path) -> None:
    import pyarrow.parquet  # noqa: F401  so that the child need not

    file, make = BOMBS[name]
    make(tmp_path / file)
    outcome = isolated(lambda: read_all(tmp_path / file), 3 * SECONDS)
    assert outcome.exit_code == 2
    assert outcome.message.startswith(f"{tmp_path / file}:")
    assert outcome.seconds < SECONDS
    assert outcome.mebibytes < MEBIBYTES


@pytest.mark.parametrize("source", RUNAWAY.values(), ids=RUNAWAY)
def test_a_hostile_chat_template_is_refused_soon_and_in_one_line(source: str) -> None:
    said_by = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "[b]"}]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with Renderer("models/chat", source, {}, "[]") as renderer:
            said = renderer.render([said_by])[0].refused
    except ModelError as error:
        said = str(error)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "\n" not in said
    assert after.ru_utime - children.ru_utime < SECONDS
    # What a child that was forked, and runs another program since, is said to have had includes its parent's.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after.ru_maxrss / 1024 < max(MEBIBYTES, children.ru_maxrss / 1024 + 1, own / 1024 + 1)


def test_payloads_are_inert_wherever_they_are_shown(tmp_path: Path) -> None:
    hostile, texts = payloads(500), passages(500)
    items = [{"id": bad, "question": f"{text} {bad}"} for bad, text in zip(hostile, texts, strict=True)]
    ids = {json.dumps(item["id"]) for item in items}
    assert len(ids) == 500
    bench, corpus = tmp_path / "=1+1 <b>[red].jsonl", tmp_path / "::error ::%0A`id`.jsonl"
    bench.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    corpus.write_text("".join(json.dumps({"text": item["question"]}) + "\n" for item in items), encoding="utf-8")
    result = contamination(
        str(bench), str(corpus), out=tmp_path / "run", fields=("question",), formats=("junit", "sarif", "html")
    )
    assert len(result.report["findings"]) == 500
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    print_contamination(result.report, console)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())  # type: ignore[attr-defined]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)
    suite = ET.fromstring((tmp_path / "run" / "junit.xml").read_bytes())
    assert {element.tag for element in suite.iter()} <= {
        "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "properties", "property", "system-out"
    }  # fmt: skip
    sarif = (tmp_path / "run" / "results.sarif").read_bytes()
    assert len(json.loads(sarif)["runs"][0]["results"]) == 500
    for name in ("junit.xml", "results.sarif", "report.html"):
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", (tmp_path / "run" / name).read_text("utf-8")), (
            name
        )
    for command in workflow_commands(result.report):
        assert command.isprintable()
        assert command.startswith(("::error ", "::warning ", "::notice "))
    assert all(character.isprintable() or character == "\n" for character in step_summary(result.report))
