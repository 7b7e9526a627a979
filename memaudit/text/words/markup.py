"""Names in markup and what they stand for: the entities of HTML 5, tags of HTML and MathML, commands of LaTeX.

Elements that a page lays out by themselves set words apart, as a line break does; those within a line do not:
``H<sub>2</sub>O`` is one word. Names that programs use as well (``map``, ``data``, ``object``) are no tags here.
"""

from __future__ import annotations

import html
from functools import cache
from html.entities import html5

import numpy as np
from numba import njit
from numpy.typing import NDArray

APART = (
    "address article aside audio blockquote body br button canvas caption center col colgroup dd details dialog dir div"
    " dl dt fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe"
    " img input legend li link main math menu meta mtable mtd mtr nav noscript ol optgroup option p picture pre script"
    " section select source style summary svg table tbody td textarea tfoot th thead title tr ul video"
)
"""Elements before and after which a line ends."""
WITHIN = (
    "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd label mark mfrac mi mn mo mover mroot mrow ms"
    " msqrt msub msubsup msup mtext munder munderover nobr q s samp semantics small span strike strong sub sup tt u var"
    " wbr"
)
"""Elements that are part of a line, and of a word."""
COMMANDS = (
    "nabla ncong ne nearrow neg neq newcommand newline newpage ngeq ngtr nleftarrow nleq nobreak nocite noindent"
    " nolimits nonumber normalfont normalsize not notag notin nparallel nprec nrightarrow nsubseteq nsucc nsupseteq nu"
    " nwarrow rangle rbrace rbrack rceil re real ref relax renewcommand require rfloor rgroup rho right rightarrow"
    " rightharpoondown rightharpoonup rightleftharpoons rlap rm root rotatebox rule rvert tabcolsep tag tanh tau"
    " tbinom text textbf textcolor textit textnormal textrm textsc textsf textstyle textsubscript textsuperscript"
    " texttt textup textwidth tfrac thanks therefore theta thickapprox thicksim thinspace tilde times tiny title to"
    " today top toprule triangle triangledown triangleleft trianglelefteq triangleq triangleright trianglerighteq tt"
    " ttfamily twoheadleftarrow twoheadrightarrow"
)
"""Commands of LaTeX that begin like an escape; not those that an English word behind one looks like (tan, the)."""
SLOTS = 1 << 13
_SEED, _PRIME, _LAST = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(SLOTS - 1)


@cache
def markup_table() -> NDArray[np.uint64]:
    """Return what names and the first 256 numbers stand for, shape [slots + 256, 3].

    A row is the FNV-1a hash of the name, up to eight bytes of UTF-8, the first lowest, and how many. A name of an
    entity, without its semicolon, of a tag, behind a ``<``, or of a command, behind a backslash, which stands for
    itself, is in the first free slot from the one that the lowest bits of its hash say. HTML reads some of the numbers
    as Windows-1252.
    """
    named = {name[:-1]: text for name, text in html5.items() if name.endswith(";")}
    named |= {f"<{name}": "\n" for name in APART.split()} | {f"<{name}": "" for name in WITHIN.split()}
    named |= {f"\\{name}": "" for name in COMMANDS.split()}
    table = np.zeros((SLOTS + 256, 3), np.uint64)
    for name, text in named.items():
        key = _key(name)
        slot = key % SLOTS
        while table[slot, 0]:
            slot = (slot + 1) % SLOTS
        table[slot] = np.array([key, *_spelled(text)], np.uint64)
    table[SLOTS:, 1:] = np.array([_spelled(html.unescape(f"&#{number};")) for number in range(256)], np.uint64)
    return table


def _key(name: str) -> int:
    """Return what `hash_byte` makes of it: a kernel that is called once a name would take a third of a second."""
    key = int(_SEED)
    for byte in name.encode():
        key = (key ^ byte) * int(_PRIME) % 2**64
    return key


def _spelled(text: str) -> tuple[int, int]:
    raw = text.encode()
    return int.from_bytes(raw, "little"), len(raw)


@njit(inline="always")
def no_bytes() -> np.uint64:
    """Return the hash of nothing."""
    return _SEED


@njit(inline="always")
def hash_byte(key: np.uint64, byte: int) -> np.uint64:
    """Return the FNV-1a hash of what ``key`` is the hash of and one byte more."""
    return (key ^ np.uint64(byte)) * _PRIME


@njit(inline="always")
def find_name(key: np.uint64, table: NDArray[np.uint64]) -> int:
    """Return the row of a name, -1 if there is none."""
    slot = np.int64(key & _LAST)
    while table[slot, 0] != key:
        if table[slot, 0] == 0:
            return -1
        slot = (slot + 1) % SLOTS
    return slot
