"""Fitted exposure in the dose measure: told where the candidates allow it, with the reason where they do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from memaudit.audits.measures.dose_fitted import fitted_table
from memaudit.metrics.exposure import NOT_SKEW_NORMAL, WHOLE_SPACE
from memaudit.stats.rounding import significant


def canary(number: int, bits: float | None, reason: str = "", *, exact: bool = False) -> dict[str, Any]:
    return {
        "document": f"c{number}",
        "space": 10**6,
        "exact": exact,
        "fitted_bits": bits,
        "not_fitted": reason,
    }


def test_means_are_over_those_that_are_told_and_the_others_have_a_reason() -> None:
    bits = [9.0, 12.0, 15.0, 11.0]
    known = [canary(i, b) for i, b in enumerate(bits)]
    twins = [canary(10, None, "a candidate has probability 0"), canary(11, 1.5)]
    table = fitted_table([("canaries, exact copies", {0: twins, 4: known})])
    assert table is not None
    at_0, at_4 = table.rows
    assert at_0 == ["canaries, exact copies", 0, 2, 1, 1.5, None, None, "1: a candidate has probability 0"]
    reach = 3.1824463 * float(np.std(bits, ddof=1)) / 2
    assert at_4[:5] == ["canaries, exact copies", 4, 4, 4, 11.75]
    assert at_4[5:] == [pytest.approx(11.75 - reach), pytest.approx(11.75 + reach), ""]
    assert f"{significant(math.log2(10**6))} bits at most" in table.caption


def test_none_is_told_where_more_fits_fail_than_chance_makes() -> None:
    """One of twenty samples of a skew-normal is rejected by chance; ten of twenty say that it is none."""
    fit = [canary(i, 10.0) for i in range(20)]
    by_chance = fitted_table([("c", {1: [canary(30, None, NOT_SKEW_NORMAL), *fit]})])
    assert by_chance is not None
    assert by_chance.rows[0][3:5] == [20, 10.0]
    many = fitted_table([("c", {1: [canary(30 + i, None, NOT_SKEW_NORMAL) for i in range(10)], 2: fit[:10]})])
    assert many is not None
    for row in many.rows:
        assert row[3:7] == [0, None, None, None]
        assert row[7] == "10 of 20 sets of candidates are not skew-normal: none is reported"


def test_a_whole_space_needs_no_fit() -> None:
    assert fitted_table([("c", {1: [canary(i, None, WHOLE_SPACE, exact=True) for i in range(3)]})]) is None
