"""JUnit XML and SARIF of every kind of run are valid by the schemas of their readers, whatever the data holds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memaudit.report.kinds import KINDS, kind_named
from memaudit.report.kinds.base import VerdictKind
from tests.golden.cases import FROZEN
from tests.report.conftest import poison as poisoned_audit
from tests.report.contamination_reports import contamination_report, poison
from tests.report.rendered import rendered
from tests.report.schemas import junit_errors, sarif_errors
from tests.report.test_membership import made

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]
VERDICTS = {
    "extraction": ("found", "clean", "inconclusive"),
    "contamination": ("found", "clean", "inconclusive"),
    "membership": ("found", "no-evidence", "inconclusive", "confounded"),
    "gap": ("found", "no-evidence", "inconclusive"),
    "exploitation": ("found", "no-evidence", "inconclusive", "confounded"),
    "reconstruction": ("found", "inconclusive"),
    "work": ("found", "clean", "inconclusive"),
}
texts = st.lists(st.text(st.characters(exclude_categories=()), max_size=30), min_size=1, max_size=4)


def report_of(kind: str, verdict: str, factory: Factory, hostile: list[str]) -> dict[str, Any]:
    lot = random.Random(0)
    if kind == "contamination":
        return poison(contamination_report(verdict), lot, hostile)  # type: ignore[no-any-return]
    if kind == "extraction":
        return poisoned_audit(factory(verdict=verdict)[0], lot, hostile)  # type: ignore[no-any-return]
    if kind in ("reconstruction", "work"):
        frozen = json.loads((FROZEN / kind / "report.json").read_bytes())
        return poison(frozen, lot, hostile) | {"verdict": verdict}  # type: ignore[no-any-return]
    return made(verdict, " ".join(hostile)) | {"kind": kind}


def errors(report: dict[str, Any]) -> list[str]:
    return [*junit_errors(rendered("junit", report)), *sarif_errors(rendered("sarif", report))]


def test_every_kind_that_is_written_is_validated() -> None:
    assert set(VERDICTS) == {name for name in KINDS.builtin if isinstance(kind_named(name), VerdictKind)}


@pytest.mark.parametrize(("kind", "verdict"), [(kind, each) for kind, some in VERDICTS.items() for each in some])
def test_valid_whatever_the_texts(factory: Factory, kind: str, verdict: str) -> None:
    @settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(texts)
    def check(hostile: list[str]) -> None:
        assert errors(report_of(kind, verdict, factory, hostile)) == []

    check()


def test_the_schemas_refuse_what_is_wrong() -> None:
    suite = (
        '<testsuites tests="1"{}><testsuite name="a" tests="1" failures="0" errors="0"{}>{}</testsuite></testsuites>'
    )
    case = '<testcase name="b"{}>{}</testcase>'
    right = suite.format("", ' skipped="0"', case.format(' classname="c"', '<skipped message="d">e</skipped>'))
    assert junit_errors(right.encode()) == []
    for wrong in (
        suite.format(' skipped="0"', "", ""),
        suite.format("", ' skips="0"', ""),
        suite.format("", "", case.format(' file="f"', "")),
        suite.format("", "", case.format(' line="1"', "")),
        suite.format("", "", case.format("", "<properties/>")),
        suite.format("", "", "<testcase/>"),
    ):
        assert junit_errors(wrong.encode()) != []
    assert sarif_errors(b'{"version": "2.1.0", "runs": []}') == []
    assert sarif_errors(b'{"version": "2.1.0", "runs": [{"tool": {}}]}') != []
    assert sarif_errors(b'{"version": "2.1.0", "runs": [], "more": 1}') != []
