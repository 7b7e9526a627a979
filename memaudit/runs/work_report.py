"""What report.json of an audit of whole works holds."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from memaudit.runs.options import WorkOptions
from memaudit.runs.parts import Finding, ModelDescription, TextDigest
from memaudit.runs.report_parts import Judged, PolicyVerdict, ReportHead, Sections


class Place(TypedDict):
    """Where something stands in a work; line and words are None where the work is a list of ids."""

    token: int
    """From 0."""
    tokens: int
    part: int
    """Among the parts of the work, from 0: the one in which it begins."""
    line: int | None
    """Of the file, from 1."""
    word: int | None
    """Of the work, from 0."""
    words: int | None


class Passage(Place):
    """A run of tokens that lie in the suffixes of extractable windows, or of tokens that lie in none."""

    threshold: float | None
    """Of p_z, from which its windows count; None for greedy decoding."""
    log_p: float | None
    """Natural log of the geometric mean of p_z of the windows that make it up; None of a hole."""
    text: str | None
    """None where texts are not shown, and of a hole."""


class Reached(TypedDict):
    """What can be had back of a work, or of a part of it, from some probability on."""

    threshold: float | None
    """Of p_z; None for greedy decoding."""
    windows: int
    """That reach it."""
    tokens: int
    """That lie in the suffix of such a window."""
    share: float | None
    """Of all tokens, those before the first suffix included, in [0, 1]; None where there are none."""
    low: float | None
    """95% interval of the share, blocks of the work being what varies; None where there is none."""
    high: float | None


class Cost(TypedDict):
    """What it takes to have a work back from some probability on, all its passages with even chances each."""

    threshold: float
    windows: int
    """The fewest windows whose suffixes cover what is covered."""
    samples: float
    """Over all of them, each asked for until the chance of its suffix is one half."""
    tokens: float
    """Generated for that."""


class WorkPart(TypedDict):
    """A chapter, or as many tokens."""

    title: str
    line: int | None
    token: int
    """Its first."""
    tokens: int
    words: int | None
    windows: int
    """Whose suffix begins in it."""
    reached: list[Reached]
    """Greedy decoding, then every threshold."""


class WorkMeasured(TypedDict):
    """One work as one model knows it."""

    name: str
    source: str
    """``file:line``."""
    control: bool
    """Whether it is one of the works that the others are compared with."""
    sha256: str
    """Of its text."""
    tokens: int
    words: int | None
    lines: int | None
    windows: int
    coverable: int
    """Tokens that stand in the suffix of any window."""
    read: int
    """Windows that were read by themselves; the others are shown to lie below every threshold by a longer pass."""
    checked: int
    """Windows among those passed over that were drawn and read by themselves all the same."""
    check_hits: int
    """Of these, those that reach the smallest threshold."""
    levels: str
    """A digit a window, in order: how many thresholds its p_z reaches."""
    greedy: str
    """A digit a window, in order: 1 where greedy decoding gives the suffix."""
    parts: list[WorkPart]
    reached: list[Reached]
    """Greedy decoding, then every threshold."""
    costs: list[Cost]
    longest: list[Passage]
    """The longest first, at the threshold of the verdict."""
    holes: list[Passage]
    """The longest stretches that nothing covers at that threshold, the longest first."""


class TestedWork(TypedDict):
    """One work against the control works."""

    name: str
    share: float
    """Of its windows that reach the threshold, in [0, 1]."""
    upper: float
    """One-sided 95% upper limit of the share, blocks of the work being what varies."""
    block_tokens: int
    """Length of the blocks of that limit."""
    blocks: int
    """That are compared with those of the control works."""
    p_value: float | None
    """None where it cannot be tested."""
    p_holm: float | None
    """Adjusted for the number of works, and for the test of all together where there are several."""


class WorkTest(TypedDict):
    """Whether a work is had back more than the control works."""

    possible: bool
    why_not: str | None
    """Why nothing can be tested; None where something can."""
    estimate: float | None
    """Share of windows of the works that reach the threshold, less that of the control works."""
    low: float | None
    high: float | None
    p_value: float | None
    """Of all works together."""
    block_tokens: int | None
    """Length of the blocks that are exchanged, from the dependence between neighbours."""
    blocks: list[int]
    """Of the works, and of the control works."""
    dependence: float | None
    """Correlation of neighbouring pages, mean over works; None where nothing varies."""
    unit: Literal["blocks", "works"]
    """What is exchanged."""
    detectable: float | None
    """Smallest share that is found with a probability of .8; None where none is."""
    works: list[TestedWork]
    """Each by itself, in the order of the report."""


class WorkReport(ReportHead, Judged, Sections):
    """Report of an audit of whole works."""

    kind: Literal["work"]
    verdict: PolicyVerdict
    model: ModelDescription
    options: WorkOptions
    corpus: TextDigest
    """The works in question."""
    thresholds: list[float]
    """Of p_z, rising."""
    works: list[WorkMeasured]
    """Those that are asked about, then the control works."""
    without_start: NotRequired[list[WorkMeasured]]
    """The same windows without a start token, where both were asked for."""
    test: WorkTest
    findings: list[Finding]
