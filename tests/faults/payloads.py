"""Text that means something to a terminal, a spreadsheet, an XML parser, a log of GitHub, or a page."""

from __future__ import annotations

import itertools
import random

CORES = (
    "<script>alert(1)</script>",
    "</script><script>x()</script>",
    "</title><svg onload=x()>",
    "<img src=x onerror=x()>",
    "javascript:x()",
    "]]><x/>",
    "<!--",
    "-->",
    "<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>&y;",
    "&lt;b&gt;",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31m",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",
    "\x9d0;t\x9c",
    "\x07",
    "\r",
    "\x00",
    "\x08\x08",
    "\x7f",
    "[red]FAIL[/red]",
    "[/b]",
    "[link=http://x]y[/link]",
    "[bold",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    '=HYPERLINK("http://x")',
    "::error file=x,line=1::owned",
    "\n::set-output name=x::y",
    "\n::add-mask::secret",
    "%0A::warning::x",
    "##[error]x",
    "`id`",
    "$(id)",
    "${{ secrets.X }}",
    "{{ 7*7 }}",
    "{% raw %}",
    "\u202e\u202dtxet",
    "\u2028\u2029",
    "\u0085",
    "\ufeff",
    "\U000e0041",
    "../../../etc/passwd",
    "%s%n%x",
    "a" * 2_000,
)


def payloads(count: int) -> list[str]:
    """Return payloads: all of the above, then pairs of them in an order of their own, in words or alone."""
    lot = random.Random(0)
    pairs = list(itertools.permutations(CORES[:-1], 2))
    lot.shuffle(pairs)
    joined = (f"{one}{lot.choice(['', ' ', ' plain words between '])}{other}" for one, other in pairs)
    return [*CORES, *itertools.islice(joined, count - len(CORES))]
