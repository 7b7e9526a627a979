"""The types of plans, log lines and reports: what they say is what runs wrote, and every reader is told the same."""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.contamination.conclude import Judgement
from memaudit.audits.contamination.run import ContaminationOptions
from memaudit.audits.counterfactual.run import CounterfactualOptions
from memaudit.audits.exploitation.run import ExploitationOptions
from memaudit.audits.extraction.base_control import BASE
from memaudit.audits.extraction.finished import FINISHED
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.recital import Recital
from memaudit.audits.extraction.start_token import START
from memaudit.audits.gap.run import GapOptions
from memaudit.audits.laws.run import LawsOptions
from memaudit.audits.measures import MEASURES
from memaudit.audits.measures.unprompted import UNPROMPTED
from memaudit.audits.membership.run import DETECTORS
from memaudit.audits.reconstruction.options import ReconstructionOptions
from memaudit.audits.work.options import WorkOptions
from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.findings import Finding
from memaudit.records import WindowRecord
from memaudit.runs import options, parts, reconstruction
from memaudit.runs.log_lines import LOGS
from memaudit.runs.measured_lines import MEASURED
from memaudit.runs.plans import PLANS
from memaudit.runs.reports import REPORTS
from memaudit.runs.schema import Tagged, as_record, fields_of, json_schema, misfit
from memaudit.runs.schemas import all_schemas, schema_of, schema_text
from memaudit.text.corpus.objects import HeldRows
from tests.golden.cases import FROZEN

WRITTEN = Path(__file__).parents[2] / "docs" / "schema"
TYPES: dict[str, Any] = {"plan": PLANS, "log": LOGS, "report": REPORTS}
OPTIONS = [
    (GapOptions, options.GapOptions),
    (LawsOptions, options.LawsOptions),
    (CounterfactualOptions, options.CounterfactualOptions),
    (ExploitationOptions, options.ExploitationOptions),
    (MembershipOptions, options.MembershipOptions),
    (AuditOptions, options.AuditOptions),
    (ContaminationOptions, options.ContaminationOptions),
    (ReconstructionOptions, reconstruction.ReconstructionOptions),
    (Judgement, options.Judgement),
    (WorkOptions, options.WorkOptions),
]


def lines_of(log: Path) -> list[Any]:
    return [json.loads(line.partition(" ")[2]) for line in log.read_text(encoding="utf-8").splitlines()]


def frozen() -> dict[tuple[str, str], list[Any]]:
    """Everything that was frozen, by what it is and the kind of its run; of a log one line of each measure a run."""
    found: dict[tuple[str, str], list[Any]] = {}
    for folder in sorted(path.parent for path in FROZEN.glob("*/plan.json")):
        plan = json.loads((folder / "plan.json").read_bytes())
        found.setdefault(("plan", plan["kind"]), []).append(plan)
        found.setdefault(("report", plan["kind"]), []).append(json.loads((folder / "report.json").read_bytes()))
        lines = {line.get("measure", line.get("seed")): line for line in lines_of(folder / "items.log")}
        if lines:
            found.setdefault(("log", plan["kind"]), []).extend(lines.values())
    return found


EXAMPLES = frozen()
VALIDATORS = {key: Draft202012Validator(schema_of(*key)) for key in EXAMPLES}  # type: ignore[arg-type]


def refused(key: tuple[str, str], value: Any) -> bool:
    """Whether both readers refuse a value; they must not differ."""
    ours, theirs = misfit(value, TYPES[key[0]][key[1]], "it"), not VALIDATORS[key].is_valid(value)
    assert bool(ours) == theirs, (ours, [error.message for error in VALIDATORS[key].iter_errors(value)])
    return theirs


def test_every_kind_has_an_example_of_everything() -> None:
    assert set(EXAMPLES) == {(what, kind) for what, kinds in TYPES.items() for kind in kinds}
    assert set(PLANS) == set(REPORTS) == {*LOGS, "gap"}


@pytest.mark.parametrize("key", EXAMPLES, ids=" ".join)
def test_what_was_frozen_fits(key: tuple[str, str]) -> None:
    Draft202012Validator.check_schema(VALIDATORS[key].schema)
    assert [value for value in EXAMPLES[key] if refused(key, value)] == []


def test_every_line_that_was_frozen_fits() -> None:
    for log in FROZEN.glob("*/items.log"):
        kind = json.loads((log.parent / "plan.json").read_bytes())["kind"]
        assert [problem for line in lines_of(log) if (problem := misfit(line, LOGS[kind], "a line"))] == []


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the object or list, and the key or number."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield value, key
        yield from places(one)


def known(kind: Any, value: Any) -> set[str]:
    """Keys of the outermost object that must be there."""
    kinds = kind.types_of(value) if isinstance(kind, Tagged) else [kind]
    return {name for each in kinds for name, field in fields_of(each).items() if field.required}


@pytest.mark.parametrize("key", EXAMPLES, ids=" ".join)
def test_a_key_that_is_missing_or_of_another_type_is_refused(key: tuple[str, str]) -> None:
    for example in EXAMPLES[key]:
        needed = known(TYPES[key[0]][key[1]], example)
        assert needed
        for name in needed:
            assert refused(key, {each: value for each, value in example.items() if each != name}), name
            assert refused(key, {**example, name: {"neither": ["text", None]}}), name
        assert not refused(key, {**example, "something": "new"})


WRONG = st.sampled_from([None, True, 3, 2.5, "x", [], {}, [1, "a"], {"a": 1}, "REMOVED"])


@pytest.mark.parametrize("key", EXAMPLES, ids=" ".join)
def test_both_readers_refuse_the_same(key: tuple[str, str]) -> None:
    outcomes: list[bool] = []

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32), st.lists(WRONG, min_size=1, max_size=2))
    def check(lot: int, wrong: list[Any]) -> None:
        drawn = random.Random(lot)
        value = copy.deepcopy(drawn.choice(EXAMPLES[key]))
        for one in wrong:
            holder, place = drawn.choice(list(places(value)))
            if one == "REMOVED":
                del holder[place]
            else:
                holder[place] = copy.deepcopy(one)
        outcomes.append(refused(key, value))

    check()
    assert True in outcomes


class Inner(TypedDict):
    name: str
    size: NotRequired[int]


class Outer(TypedDict):
    one: Inner
    many: list[Inner]
    pair: tuple[str, bool]
    maybe: float | None
    either: str | int | list[float]
    word: Literal["a", "b"]
    by_name: dict[str, int]


GOOD = {
    **{"one": {"name": "x"}, "many": [{"name": "y", "size": 2}], "pair": ["z", True], "maybe": None},
    **{"either": [1, 2.5], "word": "b", "by_name": {"n": 1}},
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"maybe": 3}, ""),
        ({"either": 3}, ""),
        ({"one": {"name": "x", "new": None}}, ""),
        ({"one": {}}, "it.one has no 'name'"),
        ({"one": None}, "it.one is null, not an object"),
        ({"one": {"name": "x", "size": None}}, "it.one.size is null, not a whole number"),
        ({"many": [{"name": "y"}, {"name": 3}]}, "it.many.1.name is a whole number, not a text"),
        ({"many": [{"name": "y", "size": True}]}, "it.many.0.size is true or false, not a whole number"),
        ({"many": [{"name": "y", "size": 1.5}]}, "it.many.0.size is a number, not a whole number"),
        ({"pair": ["z"]}, "it.pair has 1 entries, not 2"),
        ({"pair": ["z", 1]}, "it.pair.1 is a whole number, not true or false"),
        ({"maybe": True}, "it.maybe is true or false, not a number"),
        ({"maybe": "x"}, "it.maybe is a text, not a number"),
        ({"either": None}, "it.either is null, not a text or a whole number or a list"),
        ({"either": ["x"]}, "it.either.0 is a text, not a number"),
        ({"word": "c"}, "it.word is not a or b"),
        ({"word": ["a"]}, "it.word is not a or b"),
        ({"by_name": {"n": "1"}}, "it.by_name.n is a text, not a whole number"),
        ({"by_name": []}, "it.by_name is a list, not an object"),
    ],
)
def test_a_misfit_is_named_in_one_line(changes: dict[str, Any], problem: str) -> None:
    value = {**GOOD, **changes}
    assert misfit(value, Outer, "it") == problem
    assert Draft202012Validator(json_schema(Outer, "it")).is_valid(value) == (not problem)


def test_a_number_is_no_truth_value_and_1_is_no_true() -> None:
    assert misfit(True, Literal[1], "it") == "it is not 1"
    assert misfit(1, Literal[1], "it") == ""
    assert misfit(1, bool, "it") == "it is a whole number, not true or false"


def test_a_record_of_an_older_run_may_lack_what_has_a_default() -> None:
    line = next(line for line in EXAMPLES["log", "extraction"] if "measure" not in line)
    later = {field.name for field in dataclasses.fields(WindowRecord) if field.default is None}
    assert "ended" in later
    assert not refused(("log", "extraction"), {name: value for name, value in line.items() if name not in later})


def test_a_line_of_a_measure_from_elsewhere_holds_what_it_likes() -> None:
    assert not refused(("log", "extraction"), {"index": 3, "measure": "another", "mine": [1]})
    assert refused(("log", "extraction"), {"index": 3, "measure": 7})
    assert refused(("log", "extraction"), {"measure": "another"})
    assert refused(("log", "extraction"), {"index": 3, "measure": "coverage"})


def test_every_measure_and_detector_of_ours_says_what_it_logs() -> None:
    others = {"text", UNPROMPTED.name, FINISHED.name, Recital.name, BASE, START}
    assert set(MEASURED) == {*MEASURES.builtin, *DETECTORS.builtin, *others}


def stored(hint: Any) -> Any:
    """The type that JSON holds of a field: tuples of any length and sequences are lists."""
    origin, inner = get_origin(hint), get_args(hint)
    if (origin is tuple and inner[-1] is Ellipsis) or origin is collections.abc.Sequence:
        return list[stored(inner[0])]  # type: ignore[misc]
    if hint is MembershipOptions:
        return options.MembershipOptions
    if hint is HeldRows:  # by its name
        return str
    if len(inner) > 1 and origin is not Literal:
        first, *others = map(stored, inner)
        for other in others:
            first = first | other
        return first
    return hint


@pytest.mark.parametrize(("ours", "written"), OPTIONS)
def test_options_are_stored_as_their_dataclass_has_them(ours: type, written: type) -> None:
    hints = get_type_hints(ours)
    fields = {field.name: stored(hints[field.name]) for field in dataclasses.fields(ours)}
    assert fields == {name: field.type for name, field in fields_of(written).items()}
    # What is newer than the first runs may be absent from them.
    assert {name for name, field in fields_of(written).items() if not field.required} <= {
        "exhaustive",
        "unprompted",
        "train_field",
        "heldout_field",
        "start_token",
        "chat_template",
    }


def test_a_dataclass_with_other_keys_is_no_record() -> None:
    finding = Finding("v1:0", "a", "b", "c:1", "d", 1.0, None, None)
    assert as_record(finding, parts.Finding)["source"] == "c:1"
    with pytest.raises(TypeError, match="Finding and Control differ"):
        as_record(finding, parts.Control)


def test_schemas_say_what_docstrings_say_inherited_ones_too() -> None:
    definitions = schema_of("report", "exploitation")["$defs"]
    assert definitions["Rate"]["properties"]["n"]["description"] == "Windows."
    report = definitions["ExploitationReport"]
    assert report["description"] == "Report of a run of labels."
    assert report["properties"]["limits"]["description"] == "What the run does not show."
    assert "kind" in report["required"]


def test_no_two_types_share_a_name() -> None:
    modules = ("contamination_report", "extraction_report", "log_lines", "measured_lines", "options", "parts", "plans")
    found: dict[str, set[str]] = {}
    for name in (*modules, "report_parts", "reports"):
        module = __import__(f"memaudit.runs.{name}", fromlist=["*"])
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__.startswith("memaudit"):
                found.setdefault(each.__name__, set()).add(each.__module__)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_written_schemas_are_up_to_date() -> None:
    """After a change: ``memaudit schema --out docs/schema``."""
    assert {path.name: path.read_text(encoding="utf-8") for path in WRITTEN.iterdir()} == {
        name: schema_text(schema) + "\n" for name, schema in all_schemas()
    }


def test_the_command_prints_and_writes_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["schema", "plan", "gap"])
    assert json.loads(done.stdout) == schema_of("plan", "gap")
    assert CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "new")]).stdout == "26 schemas\n"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in WRITTEN.iterdir()}


@pytest.mark.parametrize(
    ("what", "kind", "problem"), [("log", "gap", "log nothing"), ("plan", "gqp", "no kind of run")]
)
def test_what_there_is_no_schema_of_is_refused(what: Any, kind: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        schema_of(what, kind)
