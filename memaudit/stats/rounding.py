"""The one place where a number becomes text of few digits.

Nothing is rounded before it is shown, and nothing is said to be what it only comes near: a share that is not 0 or 1 is
never 0% or 100%, a p-value never 0. Below 1%, where limits lie, a share has three significant digits, and so has a
p-value: .0496 is not .05. tests/test_architecture.py refuses formats that round elsewhere.
"""

from __future__ import annotations

import math

NONE = "–"
"""What stands where a value is undefined."""
MIN_PERCENT = 1e-4
"""Percentage below which only that it is smaller is said."""
MIN_P = 1e-4
"""P-value below which only that it is smaller is said."""
MAX_SAMPLES = 10**9
"""Samples above which only that they are more is said."""


def percent(share: float | None) -> str:
    """Return a share as a percentage: one decimal, or three significant digits below 1%.

    >>> percent(0.139), percent(0.00994), percent(0.99999), percent(0.0), percent(1.0), percent(1e-9)
    ('13.9%', '0.994%', '>99.9%', '0%', '100%', '<0.0001%')
    """
    if share is None:
        return NONE
    share += 0.0  # never -0.0
    if share < 0:
        less = percent(-share)
        return f">-{less[1:]}" if less[0] == "<" else f"<-{less[1:]}" if less[0] == ">" else f"-{less}"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    if 0.9995 <= share < 1:
        return ">99.9%"
    if share < MIN_PERCENT / 100:
        return f"<{MIN_PERCENT:.4f}%"
    return f"{share:.1%}" if share >= 0.01 else f"{100 * share:.3g}%"


def stated(share: float) -> str:
    """Return a share that somebody stated, in full: ``80%``, ``0.1%``."""
    return f"{100 * share:.6g}%"


def points(share: float | None, *, sign: bool = True) -> str:
    """Return a difference of shares in percentage points, with its sign.

    >>> points(0.1904), points(-0.002), points(-1e-9), points(0.05, sign=False)
    ('+19.0', '−0.2', '+0.0', '5.0')
    """
    if share is None:
        return NONE
    rounded = round(100 * share, 1) + 0.0  # never -0.0
    return (f"{rounded:+.1f}" if sign else f"{rounded:.1f}").replace("-", "−")


def points_between(low: float | None, high: float | None) -> str:
    """Return an interval of differences: ``[−5.0, +25.0]``."""
    return NONE if low is None or high is None else f"[{points(low)}, {points(high)}]"


def p_value(value: float | None) -> str:
    """Return a p-value with three significant digits; small ones as a bound.

    >>> p_value(0.04961), p_value(0.5), p_value(1e-6)
    ('0.0496', '0.5', '<0.0001')
    """
    if value is None:
        return NONE
    return f"<{MIN_P:.4f}" if value < MIN_P else f"{value:.3g}"


def p_equals(value: float | None) -> str:
    """Return what a sentence says of a p-value: ``p = 0.0496``, ``p < 0.0001``."""
    if value is None:
        return "p unknown"
    shown = p_value(value)
    return f"p < {shown[1:]}" if shown[0] == "<" else f"p = {shown}"


def auc(value: float | None) -> str:
    """Return an area under the ROC curve with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def auc_with(estimate: float, low: float | None, high: float | None) -> str:
    """Return an area with its interval, where it has one: ``0.612 [0.540, 0.683]``."""
    return auc(estimate) if low is None or high is None else f"{auc(estimate)} [{auc(low)}, {auc(high)}]"


def gain(value: float) -> str:
    """Return a difference of areas, or of other scores in [0, 1], with its sign and three decimals."""
    return f"{value:+.3f}"


def effect(value: float | None) -> str:
    """Return a size of effect with three decimals, as areas have that stand beside it in a table.

    >>> effect(0.02341), effect(-2.8e-15)
    ('0.023', '0.000')
    """
    return NONE if value is None else f"{round(value, 3) + 0.0:.3f}"  # never -0.0


def correlation(value: float) -> str:
    """Return a correlation, or a difference of log odds, with its sign and two decimals."""
    return f"{value:+.2f}"


def r2(value: float) -> str:
    """Return a coefficient of determination with three decimals."""
    return f"{value:.3f}"


def nats(value: float) -> str:
    """Return a mean of log-probabilities in nats a token."""
    return f"{value:.2f}"


def loss(value: float) -> str:
    """Return a training loss in bits a token."""
    return f"{value:.3f}"


def seconds(value: float) -> str:
    """Return a duration in whole seconds."""
    return f"{value:.0f} s"


def duration(value: float) -> str:
    """Return how long something takes, in whole seconds, minutes or hours.

    >>> duration(90), duration(1_500), duration(40_000)
    ('90 s', '25 min', '11 h')
    """
    if value < 120:
        return seconds(value)
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.0f} h"


def count(value: float) -> str:
    """Return a number of things, which may be a mean or an estimate, as a whole number."""
    return f"{value:,.0f}"


def samples(value: float) -> str:
    """Return a number of samples that something takes; above a billion, how many more says nothing.

    >>> samples(0.7), samples(1_500), samples(10**240)
    ('1', '1,500', 'over 10^9')
    """
    return f"{math.ceil(value):,}" if value <= MAX_SAMPLES else f"over 10^{len(str(MAX_SAMPLES)) - 1}"


def short_count(value: int) -> str:
    """Return a count in four characters or fewer: ``1.2k``."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if value >= unit * 0.9995:
            return f"{value / unit:.1f}{name}" if value < unit * 9.95 else f"{value / unit:.0f}{name}"
    return str(value)


def per_thousand(share: float | None) -> str:
    """Return a share as a number per thousand: whole from 100 on, else with three significant digits."""
    if share is None:
        return "unknown"
    return count(1000 * share) if share >= 0.1 else f"{1000 * share:.3g}"


def number(value: float | None, unit: str = "") -> str:
    """Return a whole number in full, another with two decimals, and its unit."""
    if value is None:
        return NONE
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return f"{text} {unit}".strip()


def significant(value: float | None, *, sign: bool = False) -> str:
    """Return a number with three significant digits, whole numbers in full: for values of any size."""
    if value is None:
        return NONE
    plus = "+" if sign and value >= 0 else ""
    if value == int(value) and abs(value) < 1e15:
        return f"{plus}{int(value):,}"
    return plus + (f"{value:,.2f}" if 10 <= abs(value) < 1e6 else f"{value:.3g}")


def tick(value: float) -> float:
    """Return a number of two significant digits near a value: the place of a tick that can be read."""
    return float(f"{value:.2g}")
