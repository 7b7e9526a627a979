"""The page: complete, inert whatever a model wrote, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from memaudit.errors import RunError
from memaudit.records import WindowRecord
from memaudit.report.extraction_page import write_page
from memaudit.report.formats.html import HTML
from memaudit.report.kinds.extraction import KIND
from memaudit.report.page import framed
from memaudit.runs.directory import ReportInput, RunDirectory
from memaudit.stats.rounding import NONE
from tests.faults.payloads import payloads
from tests.report.pages import OURS, Page
from tests.report.rendered import extraction_pages as render

Made = tuple[dict[str, Any], list[WindowRecord]]
Factory = Callable[..., Made]


def views(*made: Made) -> list[ReportInput]:
    return [ReportInput(*one) for one in made]


@pytest.fixture(scope="module")
def page_of_one(factory: Factory) -> str:
    return render(views(factory()))


@pytest.fixture(scope="module")
def page_of_four(factory: Factory) -> str:
    families = (("ngram", 3.0), ("rnn", 1.2), ("gpt", 0.8), ("bert", 0.1))
    return render(views(*(factory(name, strength=s) for name, s in families)), "Four families, one corpus")


def test_same_run_same_bytes(factory: Factory, page_of_one: str) -> None:
    assert render(views(factory())) == page_of_one


def test_the_power_of_the_verdict_is_shown(factory: Factory, page_of_one: str) -> None:
    text = " ".join(" ".join(Page(page_of_one).text).split())
    report, records = factory()
    assert f"Of the verdict: {report['power']['verdict_sentence']}." in text
    assert "True rate Found Clean 0% 0% 25.0% 5.0% 64.7% 0% 50.0% 100% 0%" in text
    for name in ("verdicts", "verdict_sentence", "about"):
        del report["power"][name]
    assert "Of the verdict" not in render([ReportInput(report, records)]), "a report of before can be shown"


@pytest.mark.parametrize("count", [1, 3])
def test_hostile_text_is_inert(factory: Factory, count: int) -> None:
    made = [factory(name, hostile=True) for name in ("ngram", "rnn", "gpt")[:count]]
    source = render(views(*made), "</title><script>alert(1)</script>\u202e")
    page = Page(source)
    assert not page.open
    assert set(page.tags) <= OURS
    assert not [a for a in page.attributes if a[1].startswith("on") or a[1] in ("src", "style", "srcset", "action")]
    assert all(value.startswith("#run-") for _, name, value in page.attributes if name in ("href", "xlink:href"))
    values = " ".join(value for _, _, value in page.attributes)
    assert not re.search(r"https?:|javascript:|//", values)
    text = "".join(page.text)
    assert "<script>alert" in text
    assert "onerror=alert(1)" in text
    assert "{{ 7 * 7 }}" in text
    controls = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    formats = "\u202a-\u202e\u2066-\u2069\u200b\ufeff\u2028\U000e0000-\U000e007f"
    assert not re.search(f"[{controls}{formats}]", source)
    for shown in (r"\x1b", r"\u202e", r"\ud800", r"\x00", r"\U000e0041"):
        assert shown in text
    assert "👩\u200d👩\u200d👧" in text
    source.encode("utf-8")


def test_nothing_is_loaded_and_only_our_style_is_allowed(page_of_one: str, page_of_four: str) -> None:
    for source in (page_of_one, page_of_four):
        page = Page(source)
        assert not [a for a in page.attributes if re.search("https?:|url", a[2]) or a[1] in ("src", "srcset")]
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', source)
        style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
        assert policy is not None
        assert style is not None
        assert not re.search(r"https?:|url\(|@import|@font-face", style[1])
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert policy[1] == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
        assert "style=" not in source


def test_provenance_names_files_kernel_and_start_token(page_of_one: str) -> None:
    text = " ".join(" ".join(Page(page_of_one).text).split())
    assert "model.safetensors of the model" in text
    assert "5a" * 32 in text
    assert "attention by sdpa" in text
    assert "id 0 before every text" in text


def test_page_is_well_formed_and_accessible(page_of_one: str, page_of_four: str) -> None:
    for source in (page_of_one, page_of_four):
        page = Page(source)
        assert not page.open
        assert ("html", "lang", "en") in page.attributes
        assert page.headings.count(1) == 1
        assert page.headings[0] == 1
        assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
        assert len(page.ids) == len(set(page.ids))
        for tag, name, value in page.attributes:
            if name in ("aria-labelledby", "aria-describedby"):
                assert value in page.ids, (tag, name)
            if name == "href":
                assert value[1:] in page.ids
        assert page.tags["figure"] * 2 == page.tags["svg"]
        assert len(source.encode()) <= 420_000


def test_first_fold_answers_before_anything_else(factory: Factory, page_of_one: str) -> None:
    report, _ = factory()
    text = " ".join("".join(Page(page_of_one).text[:400]).split())
    fold = text[: text.index("What this does not show")]
    wanted = [
        "● Found",
        report["headline"],
        "gpt",
        "next-token",
        "533,120 parameters",
        report["model"]["sha256"][:12],
        report["train"]["specs"][0],
        report["heldout"]["specs"][0],
        f"of {report['windows']['train']}",
        "seed 0",
        "torch 2.13.0",
        report["provenance"]["command"],
        "repetition_penalty",
    ]
    assert [part for part in wanted if part not in fold] == []


def test_every_estimate_shows_its_null_and_interval(factory: Factory, page_of_one: str) -> None:
    text = " ".join("".join(Page(page_of_one).text).split())
    for estimate in factory()[0]["estimates"]:
        assert estimate["label"] in text
        for side in ("train", "heldout"):
            rate = estimate[side]
            assert f"{rate['hits']} of {rate['n']}" in text
            if rate["low"] > 0.001:
                assert f"[{rate['low']:.1%}, {rate['high']:.1%}]" in text


def test_what_was_set_aside_is_listed(page_of_one: str) -> None:
    text = " ".join(" ".join(Page(page_of_one).text).split())
    for part in ("shorter than 100 tokens 7", "twin-9 planted-3 exact", "matched by length and domain"):
        assert part in text


def test_several_runs_open_with_the_overview(factory: Factory, page_of_four: str) -> None:
    text = " ".join("".join(Page(page_of_four).text).split())
    overview = text[: text.index("What this does not show")]
    assert "Four families, one corpus" in overview
    for name in ("n-gram", "RNN", "GPT", "BERT"):
        assert name in overview
    for dose in factory("rnn", strength=1.2)[0]["doses"]:
        assert f"{dose['edit_similarity']:.2f}" in overview
    assert [f"run-{i}" in Page(page_of_four).ids for i in range(1, 6)] == [True] * 4 + [False]


def test_models_of_one_family_go_by_their_names(factory: Factory) -> None:
    made = []
    for name in ("small", "large"):
        report, records = factory()
        made.append(({**report, "model": {**report["model"], "name": name}}, records))
    text = "".join(Page(render(views(*made))).text)
    assert "small" in text
    assert "large" in text


@pytest.mark.parametrize(
    ("verdict", "word"), [("found", "● Found"), ("clean", "○ Clean"), ("inconclusive", "◐ Inconclusive")]
)
def test_verdict_is_a_word_and_a_shape(factory: Factory, verdict: str, word: str) -> None:
    text = " ".join("".join(Page(render(views(factory(verdict=verdict)))).text).split())
    assert word in text
    assert "Incomplete" not in text


def test_undefined_values_and_empty_parts_are_dashes_not_zeros(factory: Factory) -> None:
    report, _ = factory(doses=[], domains=[], means=[], findings=[], complete=False)
    empty = {"hits": 0, "n": 0, "documents": 0, "rate": None, "low": None, "high": None}
    estimate = report["estimates"][0] | {
        "train": empty,
        "heldout": empty,
        "difference": None,
        "p_value": None,
    }
    copies = report["copies"] | {"elsewhere": {"train": empty, "heldout": empty}}
    source = render(views((report | {"estimates": [estimate], "copies": copies}, [])))
    text = "".join(Page(source).text)
    assert "Incomplete" in text
    assert text.count("–") >= 4
    assert "0%" not in text.split("What this does not show")[0].replace("1.0%", "").replace("25.0%, prose 75.0%", "")


def test_copies_are_shown_where_they_were_counted(factory: Factory) -> None:
    report, records = factory()
    text = " ".join("".join(Page(render(views((report, records)))).text).split())
    assert "Counted in an index of 2,940 documents, 117,218 words" in text
    assert "The true textoccurs 65 times in training, 64 exact" in text
    assert "The continuationoccurs 3 times in training" in text
    refused = report["copies"] | {"counted": False, "reason": "not <asked> for", "index": None}
    text = "".join(Page(render(views((report | {"copies": refused}, records)))).text)
    assert "Not counted: not <asked> for" in text
    del report["copies"]  # as before copies were counted
    assert "Counted in" not in "".join(Page(render(views((report, [])))).text)


def test_failed_controls_stand_under_what_the_report_does_not_show(factory: Factory) -> None:
    controls = [{"name": "batch self-test", "passed": False, "detail": "they differ"}]
    text = " ".join("".join(Page(render(views(factory(controls=controls)))).text).split())
    assert "Control failed: batch self-test. they differ" in text


def test_marked_words_are_what_was_copied(factory: Factory) -> None:
    report, records = factory()
    one = replace(
        records[0],
        extractable=False,
        prefix_text="It was",
        suffix_text=" the best of times & it was over",
        continuation_text=" the best of times & so on",
    )
    page = Page(render(views((report, [one]))))
    assert page.marked.count("the best of times &") == 4  # two texts, among the worst and in the sample


def test_contrast_of_marks_and_text_in_both_schemes() -> None:
    css = (Path(__file__).parents[2] / "memaudit/report/templates/report.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{([^}]*)\}", css)
    ]
    light, dark = schemes[0], schemes[0] | schemes[1]
    for colours in (light, dark):
        for ground in ("paper", "card"):
            for ink in ("ink", "muted", "link", "found", "clean", "inconclusive"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert contrast(colours["mark"], colours["mark-ground"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_written_from_a_run_directory(factory: Factory, tmp_path: Path, page_of_one: str) -> None:
    report, records = factory()
    folder = tmp_path / "run"
    with RunDirectory.open(folder, {"windows": 1, "command": "memaudit audit x"}) as run:
        with pytest.raises(RunError, match="no report yet"):
            HTML(folder)
        run.append([asdict(record) for record in records])
        run.finish(report)
    path = HTML(folder)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == page_of_one
    first = path.read_bytes()
    assert HTML(folder).read_bytes() == first
    assert write_page(views((report, records)), tmp_path / "again.html", KIND.title).read_bytes() == first


def test_a_page_needs_a_run() -> None:
    with pytest.raises(ValueError, match="needs a run"):
        render([])


def test_a_model_without_a_dose_shows_a_dash(factory: Factory) -> None:
    report, records = factory("rnn")
    fewer = {**report, "doses": report["doses"][:3]}
    text = "".join(Page(render(views(factory(), (fewer, records)))).text)
    overview = text[: text.index("What this does not show")]
    assert overview.count("–") >= 5
    assert "None" not in overview


def test_a_notebook_shows_the_fold_and_the_charts(factory: Factory) -> None:
    (run,) = views(factory())
    page = Page(KIND.notebook(run))
    assert not page.open
    text = " ".join("".join(page.text).split())
    for part in (run.report["headline"], run.report["provenance"]["command"], "What this does not show"):
        assert part in text
    assert page.tags["figure"] >= 4
    assert page.tags["article"] == 0
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_a_frame_of_a_notebook_holds_one_page_and_no_way_out() -> None:
    framed_page = framed('<p title="a">&amp; "quoted"</p><script>alert(1)</script>')
    frame = Page(framed_page)
    assert frame.tags == {"iframe": 1}
    assert ("iframe", "sandbox", "") in frame.attributes
    assert ("iframe", "srcdoc", '<p title="a">&amp; "quoted"</p><script>alert(1)</script>') in frame.attributes


def test_measures_of_copies_and_context_stand_with_the_doses(factory: Factory) -> None:
    section = {"method": "M.", "tables": [], "graphs": [], "notes": []}
    sections = [
        section | {"name": "probability", "title": "By sampling", "summary": "S."},
        section | {"name": "surface", "title": "By context", "summary": "S."},
    ]
    text = " ".join("".join(Page(render(views(factory(sections=sections)))).text).split())
    places = [text.index(t) for t in ("Dose and context", "By context", "Train against held-out", "By sampling")]
    assert places == sorted(places)
    assert text.index("Composition") < text.index("Exhibits") < text.index("Provenance and method")


def test_options_hashes_and_words_are_explained(factory: Factory) -> None:
    report, _ = factory()
    text = " ".join("".join(Page(render(views(factory()))).text).split())
    method = text[text.index("Provenance and method") :]
    for name, value in report["options"].items():
        shown = NONE if value in (None, []) else value
        assert f"{name}{shown}" in method
    for part in (
        report["provenance"]["identity"],
        report["windows"]["sha256"],
        "Clopper-Pearson",
        "Carlini et al. 2022",
    ):
        assert part in method


def test_counted_copies_are_drawn_where_none_were_planted(factory: Factory) -> None:
    text = "".join(Page(render(views(factory(doses=[])))).text)
    assert "Reproduced word for word, by copies in the training text" in text
    assert "64–127" in text
    assert "Reproduced word for word, by copies" not in "".join(
        Page(render(views(factory(doses=[], counted_doses=[])))).text
    )


def test_reports_of_earlier_versions_have_fewer_pictures(factory: Factory) -> None:
    report, records = factory()
    for key in ("counted_doses", "distributions", "composition"):
        del report[key]
    page = Page(render(views((report, records))))
    assert not page.open
    assert page.tags["figure"] == 2


def test_a_page_of_conversations_says_so_and_shows_roles(factory: Factory) -> None:
    report, records = factory()
    hostile = payloads(60)
    asked = [
        replace(r, turns=[["system", bad], ["<script>", "What?"]]) for r, bad in zip(records, hostile * 9, strict=False)
    ]
    report["chat"] = {
        "template": "the model's own", "sha256": "ab" * 32, "least": 5, "longest_prompt": 300, "cut": 0,
        "left_out": [], "dated": False,
    }  # fmt: skip
    page = render([ReportInput(report, asked)])
    assert "Given a conversation up to a reply" in page
    assert "Rendered by the model&#39;s own chat template; prompts of up to 300 tokens" in page
    assert "abababababab" in page
    assert "<dt>&lt;script&gt;</dt>" in page
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", page)
    assert not re.search(r"<(script>alert|img|svg onload)", page)
    assert "Given a conversation" not in render([ReportInput(factory()[0], records)])
    report["chat"] |= {"template": "none: prompt and completion follow each other", "sha256": None}
    assert "joined as they are, without a chat template" in render([ReportInput(report, asked)])
