"""Pages: no script, no address, nothing to load; they read the same in ten years.

What a corpus holds and what a model wrote is hostile text. Every value goes through Jinja's autoescape,
every invisible character is shown as what it is, and the page forbids by policy what it does not need:
all but its own style sheet.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from memaudit.report import wording
from memaudit.report.endpoint import in_short
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.stats import rounding

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, title: str, versions: Mapping[str, str], **values: Any) -> str:
    """Return a page: the same values give the same bytes.

    Args:
        template: File among the templates; it extends ``page.html.j2``.
        title: Of the browser's window; the template decides where else it stands.
        versions: Name -> version, as the provenance of a run has them.
        **values: What else the template shows.
    """
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            css=Markup(css),  # our own file
            style_hash=digest,
            version=versions.get("memaudit", ""),
            **values,
        )
    )


def framed(page: str) -> str:
    """Return a page as a notebook shows it: in a frame of its own, so that neither styles the other."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" style="width:100%;height:80vh;border:0" sandbox'
        ' title="memaudit report"></iframe>'
    )


@cache
def environment() -> jinja2.Environment:
    """Return the environment of all templates: autoescape on, hidden characters shown."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.filters.update(
        percent=rounding.percent,
        interval=wording.interval,
        points=wording.points,
        point_interval=wording.point_interval,
        p_value=rounding.p_value,
        number=rounding.number,
        hits=wording.hits,
        classes=wording.classes,
        counted=wording.counted,
        share_points=rounding.points,
        stated=rounding.stated,
        p_equals=rounding.p_equals,
        correlation=rounding.correlation,
        question=wording.question,
        decoding=wording.decoding,
        plain=lambda text: Markup.escape(wording.visible(text)),  # where no markup may stand
        family=wording.family,
        asked_with=wording.asked_with,
        asked_of=in_short,
        sampled=wording.sampled,
        picture=Markup,  # of charts only: their labels are escaped by the renderer
    )
    made.globals.update(symbols=wording.SYMBOLS, verdicts=wording.VERDICTS, dash=rounding.NONE)
    made.globals.update(about_documents=ABOUT_DOCUMENTS.format(units="documents"))
    return made


def _finalize(value: object) -> object:
    """Make sure that no text reaches the page with characters that nobody sees."""
    return _visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _visible(text: str) -> Markup:
    r"""Return a text escaped, its invisible characters set apart as ``\x1b``."""
    return Markup("").join(
        Markup('<span class="hidden">{}</span>').format(piece) if hidden else piece
        for piece, hidden in wording.visible_parts(text)
    )
