"""Runs of a model behind an address: what stands in plan, report and page, what is refused, and by what words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import memaudit
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.membership.run import membership
from memaudit.audits.reconstruction.run import reconstruct
from memaudit.audits.server_section import server_sections
from memaudit.audits.work.run import work
from memaudit.errors import InputError, ModelError, RunError
from memaudit.models.remote.model import RemoteModel
from memaudit.report.compare import compare, render_comparison
from memaudit.report.endpoint import TITLE, VERBATIM, facts, in_chat, in_short, limit, lines, name_of, summary
from memaudit.report.glossary import words_for
from memaudit.report.kinds import kind_named
from memaudit.report.terminal import console
from memaudit.runs.directory import ANSWERS, read_run
from memaudit.runs.plans import ExtractionPlan
from tests.audits.test_extraction import oracle, unique_text, write_jsonl
from tests.models.remote.pretending import CHECK, TEXT, URL, PretendedTransport, pretended

OPTIONS = AuditOptions(prefix=10, suffix=10, limit=24, unprompted=False)
FORMATS = ("html", "md", "junit", "sarif")
KNOWN = unique_text(30, 1)


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[str, str]:
    return write_jsonl(tmp_path / "train.jsonl", KNOWN), write_jsonl(tmp_path / "heldout.jsonl", unique_text(30, 2))


def transport_of(model: RemoteModel) -> PretendedTransport:
    assert isinstance(model.transport, PretendedTransport)
    return model.transport


def controls_of(result: Any) -> dict[str, bool | None]:
    return {control["name"]: control["passed"] for control in result.report["controls"]}


def test_a_model_behind_an_address_is_audited_as_one_that_lies_here(corpora: tuple[str, str], tmp_path: Path) -> None:
    model = pretended(oracle(KNOWN, 12))
    far = audit(model, *corpora, out=tmp_path / "far", options=OPTIONS, formats=FORMATS, name=URL)
    near = audit(oracle(KNOWN, 12), *corpora, out=tmp_path / "near", options=OPTIONS)
    sampled = [[record.line() for record in run.records if record.sampled] for run in (far, near)]
    assert sampled[0] == sampled[1]
    hits = [[(record.matched, record.extractable) for record in run.records] for run in (far, near)]
    assert hits[0] == hits[1]
    assert far.report["estimates"] == near.report["estimates"]
    assert (far.verdict, near.verdict) == ("found", "found")

    plan = json.loads((tmp_path / "far" / "plan.json").read_text())
    assert plan["model"]["endpoint"]["checks"] == [CHECK]
    assert plan["model"]["self_test"] == [-1.5]
    assert plan["model"]["parameters"] is None
    controls = controls_of(far)
    assert controls[CHECK] is True
    assert not {"batch self-test", "computes in float32", "recites known text"} & set(controls)
    assert "tokenizer round trip" in controls, "text and tokens are ours"
    assert "batch self-test" in controls_of(near)


def test_answers_are_kept_in_the_run_and_costs_stay_out_of_the_report(corpora: tuple[str, str], tmp_path: Path) -> None:
    model = pretended(oracle(KNOWN, 12))
    run = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS)
    assert transport_of(model).folders == [tmp_path / "run"]
    assert f"{URL}: {model.spent}" in run.notice
    assert f"{transport_of(model).asked:,} requests" == model.spent
    report = (tmp_path / "run" / "report.json").read_bytes()
    assert b"requests" not in report
    again = audit(pretended(oracle(KNOWN, 12)), *corpora, out=tmp_path / "run", options=OPTIONS)
    assert (tmp_path / "run" / "report.json").read_bytes() == report
    assert "requests" not in again.notice, "nothing was asked again"


def test_every_report_says_how_the_server_answers(corpora: tuple[str, str], tmp_path: Path) -> None:
    run = audit(
        pretended(oracle(KNOWN, 12)), *corpora, out=tmp_path / "run", options=OPTIONS, formats=FORMATS, name=URL
    )
    section = run.report["sections"][0]
    assert (section["name"], section["title"]) == ("server", TITLE)
    told = dict(section["tables"][0]["rows"])
    assert told["Address"] == URL
    assert told["Dialect"] == "pretended dialect"
    assert told["Not measured, for it does not give them"] == "moments of log p over the vocabulary"
    assert told["Ranks"] == "among the 20 likeliest; others are beyond that"
    assert told["Before every text"] == "the start token, sent by us"
    assert told["At the end token"] == "stops and says so"
    assert told["Fingerprint"] == "fp-1"
    assert section["tables"][1]["rows"] == [[CHECK, "passed", "it counts as many tokens as we do"]]
    (sentence,) = [one for one in run.report["limits"] if "over HTTP" in one]
    assert "pretended dialect" in sentence
    assert "20 likeliest" in sentence
    page = (tmp_path / "run" / "report.html").read_text()
    assert TITLE in page
    assert CHECK in page
    assert "0 parameters" not in page
    comment = (tmp_path / "run" / "report.md").read_text()
    assert TITLE in comment
    assert "<li>Fingerprint: fp-1</li>" in comment
    assert f"<li>{CHECK}: passed; it counts as many tokens as we do</li>" in comment


def test_what_a_plan_says_of_a_server_is_put_into_words() -> None:
    described: Any = {"endpoint": {**pretended(oracle(["a b"])).endpoint, "checks": [CHECK]}, "lacks": []}  # type: ignore[dict-item]
    control: Any = {"name": CHECK, "passed": None, "detail": "nothing to count by"}
    assert name_of(described) == "some-model at pretended:1"
    assert in_short(described) == "pretended dialect, asked to continue texts"
    assert "fingerprint fp-1" in summary(described)
    assert lines(described, [control])[-1] == f"{CHECK}: could not be run; nothing to count by"
    assert not in_chat(described)
    local: Any = {"name": "m"}
    assert (facts(local), lines(local, [control]), limit(local), summary(local), name_of(local)) == ([], [], "", "", "")
    assert server_sections(local, [control]) == []


def spoken(folder: Path, report: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """All that a run says in any format."""
    kind_named("extraction").screen(report, console())
    names = ("report.html", "report.md", "junit.xml", "results.sarif", "report.json")
    return capsys.readouterr().out + "".join((folder / name).read_text() for name in names)


def test_a_chat_is_never_called_extractable(
    corpora: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = pretended(oracle(KNOWN, 12), TEXT, api="chat")
    run = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, formats=FORMATS, name=URL)
    assert run.report["estimates"][0]["label"] == VERBATIM
    assert "answers" in run.report["headline"]
    said = spoken(tmp_path / "run", run.report, capsys)
    assert "k-extractable" not in said
    assert said.count(VERBATIM) >= 5, "page, terminal, comment, SARIF, report.json"
    assert f"{VERBATIM.lower()}: at most 1.0%" in (tmp_path / "run" / "junit.xml").read_text()
    completed = audit(
        pretended(oracle(KNOWN, 12), TEXT), *corpora, out=tmp_path / "c", options=OPTIONS, formats=FORMATS
    )
    assert "k-extractable" in spoken(tmp_path / "c", completed.report, capsys)


def test_the_words_of_a_page_are_those_of_what_was_asked() -> None:
    chat: Any = {"endpoint": pretended(oracle(["a b"]), TEXT, api="chat").endpoint}
    terms = [[term for term, _ in words_for(*models)] for models in ((), ({"name": "m"},), (chat, {}), (chat,))]
    assert terms[0] == terms[1] == terms[2]
    assert set(terms[0]) - set(terms[3]) == {"Verbatim, k-extractable"}
    assert set(terms[3]) - set(terms[0]) == {VERBATIM}


def test_conversations_need_a_template_to_be_cut_by(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": t}]} for t in KNOWN]
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="the model has no chat template"):
        audit(
            pretended(oracle(KNOWN, 12), TEXT, api="chat"), str(file), str(file), out=tmp_path / "run", options=OPTIONS
        )


@pytest.mark.parametrize(
    ("measures", "options", "said"),
    [
        (("probability",), {}, r"'probability' cannot be measured: the model gives no next-token scores.*pretended"),
        (("near-verbatim",), {}, "'near-verbatim' cannot be measured: .*no next-token distributions"),
    ],
)
def test_what_a_server_cannot_give_is_refused_before_it_is_asked(
    measures: tuple[str, ...], options: dict[str, Any], said: str, corpora: tuple[str, str], tmp_path: Path
) -> None:
    model = pretended(oracle(KNOWN, 12), TEXT)
    with pytest.raises(InputError, match=said):
        audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, measures=measures, **options)
    assert transport_of(model).asked == 0
    assert not (tmp_path / "run").exists()


def test_a_temperature_that_no_server_scores_by_is_refused_before_it_is_asked(
    corpora: tuple[str, str], tmp_path: Path
) -> None:
    model = pretended(oracle(KNOWN, 12))
    with pytest.raises(ModelError, match="leave out --temperature"):
        audit(model, *corpora, out=tmp_path / "r", options=OPTIONS, measures=("probability",), temperature=0.7)
    with pytest.raises(ModelError, match="leave out --temperature"):
        work(model, corpora[0], corpora[1], out=tmp_path / "w", prefix=10, suffix=10, top_k=5)
    assert transport_of(model).asked == 0
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "fp-2"}, "fingerprint was fp-1 and is fp-2"),
        ({"gives": TEXT}, "gives was .* and is continuations, text written from left to right"),
        ({"behaviour": (-9.9,)}, "it answers the same questions otherwise"),
        ({"listed": 5}, "listed was 20 and is 5"),
    ],
)
def test_another_server_ends_the_run_by_name(
    changed: dict[str, Any], said: str, corpora: tuple[str, str], tmp_path: Path
) -> None:
    audit(pretended(oracle(KNOWN, 12)), *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)
    with pytest.raises(RunError, match=f"another model answers than when the run began: .*{said}"):
        audit(pretended(oracle(KNOWN, 12), **changed), *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)


def test_other_options_are_still_another_plan(corpora: tuple[str, str], tmp_path: Path) -> None:
    audit(pretended(oracle(KNOWN, 12)), *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)
    with pytest.raises(RunError, match=r"run belongs to another plan: .*options.limit differs"):
        audit(pretended(oracle(KNOWN, 12)), *corpora, out=tmp_path / "run", options=OPTIONS, name=URL, limit=7)


def test_answers_of_another_model_are_not_taken_over(corpora: tuple[str, str], tmp_path: Path) -> None:
    """A run that finished nothing gives way to another plan: what the server before said is no answer to it."""
    folder = tmp_path / "run"
    audit(pretended(oracle(KNOWN, 12)), *corpora, out=folder, options=OPTIONS, name=URL)
    for begun, stays in (
        (pretended(oracle(KNOWN, 12)), True),
        (pretended(oracle(KNOWN, 12), fingerprint="fp-2"), False),
    ):
        (folder / "report.json").unlink()
        (folder / "items.log").write_bytes(b"")
        for kept in (folder, folder / "reference-1"):
            kept.mkdir(exist_ok=True)
            (kept / ANSWERS).write_bytes(b"")
        limit_of_this = 7 if stays else 8
        audit(begun, *corpora, out=folder, options=OPTIONS, name=URL, limit=limit_of_this)
        assert [(kept / ANSWERS).exists() for kept in (folder, folder / "reference-1")] == [stays, stays]


def test_another_server_throws_no_paid_answer_away(corpora: tuple[str, str], tmp_path: Path) -> None:
    """Where no block of windows was finished either: the answers so far are those of the server that gave them."""
    folder = tmp_path / "run"
    audit(pretended(oracle(KNOWN, 12)), *corpora, out=folder, options=OPTIONS, name=URL)
    (folder / "report.json").unlink()
    (folder / "items.log").write_bytes(b"")
    (folder / ANSWERS).write_bytes(b"paid")
    with pytest.raises(RunError, match="another model answers than when the run began"):
        audit(pretended(oracle(KNOWN, 12), behaviour=(-9.9,)), *corpora, out=folder, options=OPTIONS, name=URL)
    assert (folder / ANSWERS).read_bytes() == b"paid"


def test_an_endpoint_stands_beside_a_local_model(corpora: tuple[str, str], tmp_path: Path) -> None:
    audit(pretended(oracle(KNOWN, 12)), *corpora, out=tmp_path / "far", options=OPTIONS, name=URL)
    audit(oracle(KNOWN, 12), *corpora, out=tmp_path / "near", options=OPTIONS, name="models/here")
    compared = compare([tmp_path / "near", tmp_path / "far"])
    assert [each.name for each in compared.contenders] == ["here", "some-model at pretended:1"]
    page = render_comparison(compared)
    assert "pretended dialect, asked to continue texts" in page
    assert compared.pairs[0].only_first == compared.pairs[0].only_second == 0


def test_references_keep_their_answers_apart(corpora: tuple[str, str], tmp_path: Path) -> None:
    reference = pretended(oracle([*KNOWN, *unique_text(30, 5)], 12), url="http://other:2/v1", fingerprint="fp-r")
    model = pretended(oracle(KNOWN, 12))
    run = membership(
        corpora[0],
        model,
        heldout=corpora[1],
        out=tmp_path / "run",
        references=("http://other:2/v1",),
        load=lambda spec: reference,
        detectors=("membership",),
        name=URL,
    )
    assert transport_of(model).folders == [tmp_path / "run"]
    assert transport_of(reference).folders == [tmp_path / "run" / "reference-1"]
    assert run.report["sections"][-1]["name"] == "server"
    assert "http://other:2/v1: " in run.notice
    assert any("over HTTP" in one for one in run.report["limits"])


def test_works_and_reconstructions_say_how_the_server_answers(tmp_path: Path) -> None:
    texts = [" ".join(unique_text(1, seed, words=120)) for seed in (1, 2)]
    files = [tmp_path / f"{name}.txt" for name in ("asked", "control")]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    model = pretended(oracle(texts[:1], 12))
    asked, control = map(str, files)
    whole = work(model, asked, control, out=tmp_path / "work", prefix=10, suffix=10, stride=10, name=URL)
    written = reconstruct(model, asked, control, out=tmp_path / "rec", max_tokens=200, name=URL)
    for run in (whole, written):
        assert controls_of(run)[CHECK] is True
        assert "batch self-test" not in controls_of(run)
        assert run.report["sections"][-1]["name"] == "server"
        assert any("over HTTP" in one for one in run.report["limits"])
    assert transport_of(model).folders == [tmp_path / "work", tmp_path / "rec"]


def test_how_an_address_is_reached_is_refused_where_none_is_named(corpora: tuple[str, str], tmp_path: Path) -> None:
    endpoint = memaudit.Endpoint(tokenizer="t")
    for call in (
        lambda: audit(oracle(KNOWN, 12), *corpora, endpoint=endpoint),
        lambda: membership(corpora[0], "models/here", endpoint=endpoint),
        lambda: work("models/here", corpora[0], endpoint=endpoint),
        lambda: reconstruct("models/here", corpora[0], endpoint=endpoint),
        lambda: memaudit.load_model("models/here", endpoint=endpoint),
    ):
        with pytest.raises(InputError, match="about a model behind an address, and no model is one"):
            call()


def test_a_call_from_python_repeats_what_changes_results_alone(corpora: tuple[str, str], tmp_path: Path) -> None:
    endpoint = memaudit.Endpoint(tokenizer="t", connections=9, timeout=5, max_requests=7, max_tokens=8, api_key_env="K")
    run = audit(
        URL,
        *corpora,
        out=tmp_path / "run",
        options=OPTIONS,
        endpoint=endpoint,
        load=lambda _: pretended(oracle(KNOWN, 12)),
    )
    command = run.report["provenance"]["command"]
    assert "endpoint=memaudit.models.remote.address.Endpoint(tokenizer='t', api_key_env='K')" in command
    stored: ExtractionPlan = read_run(tmp_path / "run").plan  # type: ignore[assignment]
    assert "connections" not in json.dumps(stored)
