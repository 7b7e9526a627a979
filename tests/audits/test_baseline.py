"""The baseline: hashes only, the same bytes every time, and no damaged or foreign file is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.contamination.baseline import read_baseline, split, write_baseline
from memaudit.errors import InputError, RunError
from tests.report.contamination_reports import contamination_report, fingerprint

HEAD = {"schema_version": 1, "tool": "memaudit", "kind": "contamination"}
ID, OTHER = fingerprint(1), fingerprint(2)


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_all_findings_are_accepted_sorted_and_byte_stable(tmp_path: Path) -> None:
    report = contamination_report(found=9, accepted=3)
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    assert write_baseline(report, one) == 9
    assert write_baseline(report | {"findings": report["findings"][::-1]}, other) == 9
    assert one.read_bytes() == other.read_bytes()
    write_baseline(report, one)
    assert one.read_bytes() == other.read_bytes()
    assert read_baseline(one) == {finding["id"] for finding in report["findings"]}
    ids = [entry["id"] for entry in json.loads(one.read_bytes())["accepted"]]
    assert ids == sorted(ids)


def test_it_holds_hashes_only(tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    write_baseline(contamination_report(hostile=True), path)
    content = json.loads(path.read_bytes())
    assert content | HEAD == content
    assert content.keys() == {*HEAD, "accepted"}
    assert all(entry.keys() == {"id"} for entry in content["accepted"])


def test_findings_without_fingerprints_are_refused(tmp_path: Path) -> None:
    report = contamination_report()
    report["findings"][0]["id"] = "the text of an item"
    with pytest.raises(RunError, match="no fingerprints of this version"):
        write_baseline(report, tmp_path / "accepted.json")
    assert not (tmp_path / "accepted.json").exists()


def test_notes_are_kept_as_long_as_their_finding_is(tmp_path: Path) -> None:
    entries = [{"id": ID, "note": "a quotation"}, {"id": fingerprint(99), "note": "gone"}]
    path = written(tmp_path / "accepted.json", HEAD | {"accepted": entries})
    assert write_baseline(contamination_report(found=2), path) == 2
    accepted = json.loads(path.read_bytes())["accepted"]
    assert sorted(accepted, key=lambda entry: "note" not in entry) == [{"id": ID, "note": "a quotation"}, {"id": OTHER}]


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "package.json", {"name": "x"})
    with pytest.raises(InputError, match="not a baseline"):
        write_baseline(contamination_report(), path)
    assert json.loads(path.read_bytes()) == {"name": "x"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", r"a\.json:1: not valid JSON"),
        ('{\n"tool": "memaudit",\n<<<<<<< ours', r"a\.json:3: not valid JSON"),
        ("[]", "not a baseline of memaudit"),
        ({"version": "2.1.0", "runs": []}, "not a baseline of memaudit"),
        (HEAD, "not a baseline of memaudit"),
        (HEAD | {"tool": "other", "accepted": []}, "not a baseline of memaudit"),
        (HEAD | {"schema_version": 2, "accepted": []}, "schema_version '2', and this version of memaudit reads 1"),
        (HEAD | {"schema_version": True, "accepted": []}, "schema_version 'True'"),
        (HEAD | {"schema_version": 1.0, "accepted": []}, "schema_version '1.0'"),
        (HEAD | {"kind": "extraction", "accepted": []}, "a baseline of kind 'extraction', not 'contamination'"),
        (HEAD | {"accepted": {}}, '"accepted" is not a list'),
        (HEAD | {"accepted": [], "more": 1}, "unknown key 'more'"),
        (HEAD | {"accepted": [ID]}, "entry 1 is not"),
        (HEAD | {"accepted": [{"id": ID}, {"note": "x"}]}, "entry 2 is not"),
        (HEAD | {"accepted": [{"id": ID, "text": "x"}]}, "entry 1 is not"),
        (HEAD | {"accepted": [{"id": 7}]}, "entry 1: '7' is not a fingerprint of this version"),
        (HEAD | {"accepted": [{"id": ID.replace("v1", "v2")}]}, "is not a fingerprint of this version"),
        (HEAD | {"accepted": [{"id": ID.upper()}]}, "is not a fingerprint of this version"),
        (HEAD | {"accepted": [{"id": f"{ID}\n"}]}, "is not a fingerprint of this version"),
        (HEAD | {"accepted": [{"id": ID, "note": 3}]}, "entry 1: the note is not a text"),
        (HEAD | {"accepted": [{"id": ID}, {"id": ID}]}, f"entry 2 repeats {ID}"),
        ('{"tool": "memaudit", "tool": "memaudit"}', "duplicate key 'tool'"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_damaged_and_foreign_files_are_refused_in_one_line(content: Any, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", content)
    with pytest.raises(InputError, match=problem) as raised:
        read_baseline(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_baseline(tmp_path / "absent.json")
    with pytest.raises(InputError, match="Is a directory"):
        read_baseline(tmp_path)
    (tmp_path / "utf16.json").write_text("{}", encoding="utf-16")
    with pytest.raises(InputError, match="not UTF-8 at byte 0"):
        read_baseline(tmp_path / "utf16.json")


def test_a_baseline_of_another_kind_of_run(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_baseline(contamination_report(kind="extraction"), path)
    assert len(read_baseline(path, "extraction")) == 7
    with pytest.raises(InputError, match="of kind 'extraction', not 'contamination'"):
        read_baseline(path)


numbers = st.lists(st.integers(0, 9), max_size=12)


@settings(deadline=None, max_examples=100)
@given(numbers, st.sets(st.integers(0, 9)))
def test_split(found: list[int], accepted: set[int]) -> None:
    findings = [{"id": fingerprint(number), "place": place} for place, number in enumerate(found)]
    new, known, stale = split(findings, {fingerprint(number) for number in accepted})
    assert sorted([*new, *known], key=lambda f: f["place"]) == findings
    assert [f["place"] for f in new] == [place for place, number in enumerate(found) if number not in accepted]
    assert [f["place"] for f in known] == [place for place, number in enumerate(found) if number in accepted]
    assert stale == len(accepted - set(found))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_a_device_is_refused_and_not_read_to_its_end(device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"no {device} here")
    with pytest.raises(InputError, match="is no regular file"):
        read_baseline(device)
    with pytest.raises(InputError, match="is no regular file"):
        write_baseline(contamination_report(found=2), device)
