import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.findings import Control, Policy, decide, fingerprint
from memaudit.stats import document_rate, permutation_test
from memaudit.stats.rounding import p_value

quick = settings(deadline=None, max_examples=100)
PASSED = Control("batch self-test", True, "the same")
FAILED = Control("beats a unigram model", False, "9.1 nats a token, unigram 8.2")
NOT_RUN = Control("held-out text matches", None, "no domains")
UNMATCHED = Control("matched held-out text", False, "3 of 40 have a counterpart", comparison=True)

any_control = st.sampled_from([PASSED, FAILED, NOT_RUN, UNMATCHED])
any_rate = st.tuples(st.integers(0, 400), st.integers(1, 4)).flatmap(
    lambda drawn: st.integers(0, drawn[0] * drawn[1]).map(lambda hits: rate(hits, *drawn))
)
any_p = st.none() | st.floats(1e-4, 1)
any_policy = st.sampled_from([Policy(), Policy(0.0), Policy(0.2), Policy(0.05, 0.01)])


def rate(hits, documents, windows=1):
    """A rate with all hits in the first documents."""
    names = [f"d{i:03}" for i in range(documents) for _ in range(windows)]
    return document_rate([i < hits for i in range(len(names))], names)


@pytest.mark.parametrize(
    ("train", "p", "controls", "complete", "policy", "verdict", "words"),
    [
        (rate(30, 100), 1e-4, [PASSED], True, Policy(), "found", "at least 22.5%, more than the 1%"),
        (rate(30, 100), 1e-4, [PASSED, FAILED], True, Policy(), "found", "unigram model' failed: 9.1 nats"),
        (rate(30, 100), 1e-4, [PASSED], False, Policy(), "inconclusive", "not complete"),
        (rate(30, 100), 0.31, [PASSED], True, Policy(), "inconclusive", "is not shown: p = 0.31"),
        (rate(30, 100), None, [PASSED], True, Policy(), "inconclusive", "no held-out text"),
        (rate(1, 100), 1e-4, [PASSED], True, Policy(), "inconclusive", "may be as low as 0.0513%"),
        (rate(1, 100), 0.01, [PASSED], True, Policy(0), "found", "none is tolerated"),
        (rate(1, 100), 0.5, [PASSED], True, Policy(0), "inconclusive", "is not shown: p = 0.5"),
        (rate(0, 100), 1.0, [PASSED], True, Policy(0), "inconclusive", "shows a rate of 0"),
        (
            rate(0, 20),
            1.0,
            [PASSED],
            True,
            Policy(),
            "inconclusive",
            "13.9% > limit 1%: 299 documents needed",
        ),
        (rate(0, 298), 1.0, [PASSED], True, Policy(), "inconclusive", "299 documents needed"),
        (rate(0, 299), 1.0, [PASSED], True, Policy(), "clean", "at most 0.997%, less than the 1%"),
        (rate(0, 299), 1.0, [PASSED, FAILED], True, Policy(), "inconclusive", "unigram model' failed"),
        (rate(0, 299), 1.0, [NOT_RUN], True, Policy(), "inconclusive", "could not be run: no domains"),
        (rate(0, 299), 1.0, [PASSED], False, Policy(), "inconclusive", "not complete"),
        (rate(0, 299), None, [], True, Policy(), "clean", "every control passed"),
        (rate(5, 300), 0.03, [PASSED], True, Policy(0.1), "clean", "less than the 10% tolerated"),
        (rate(0, 0), None, [FAILED], True, Policy(), "inconclusive", "no training document"),
        (rate(100, 10, 50), 1e-4, [PASSED], True, Policy(), "found", "100 of 500 training windows in 10"),
        (rate(0, 20, 50), 1.0, [PASSED], True, Policy(), "inconclusive", "and 20 were measured"),
    ],
)
def test_verdicts(train, p, controls, complete, policy, verdict, words):
    decision = decide(train, p, controls, complete, policy)
    assert decision.verdict == verdict
    assert decision.exit_code == {"clean": 0, "found": 1, "inconclusive": 3}[verdict]
    assert words in " | ".join(decision.reasons)


@quick
@given(any_rate, any_p, st.lists(any_control, max_size=3), st.booleans(), any_policy)
def test_verdicts_follow_their_definition(train, p, controls, complete, policy):
    decision = decide(train, p, controls, complete, policy)
    low, high = train.lower(), train.upper()
    comparable = all(control.passed for control in controls if control.comparison)
    found = complete and p is not None and p <= policy.alpha and train.hits > 0 and low > policy.max_rate and comparable
    sound = all(control.passed for control in controls)
    clean = complete and sound and train.documents > 0 and high < policy.max_rate
    assert decision.verdict == ("found" if found else "clean" if clean else "inconclusive")
    assert decision.reasons
    assert all(any(c.detail in reason for reason in decision.reasons) for c in controls if not c.passed)


@quick
@given(any_rate, any_p, st.lists(any_control, max_size=3), any_policy)
def test_a_failed_control_makes_nothing_clean_and_hides_nothing_found(train, p, controls, policy):
    before = decide(train, p, controls, True, policy).verdict
    after = decide(train, p, [*controls, FAILED], True, policy).verdict
    assert after == ("found" if before == "found" else "inconclusive")
    assert decide(train, p, [*controls, UNMATCHED], True, policy).verdict == "inconclusive"


def test_sides_that_differ_are_never_found_and_the_reason_says_so():
    decision = decide(rate(30, 100), 1e-4, [PASSED, UNMATCHED], True, Policy())
    assert decision.verdict == "inconclusive"
    told = " | ".join(decision.reasons)
    assert "matched held-out text' failed: 3 of 40 have a counterpart" in told
    assert "more often than held-out text (p = 0.0001), but the sides differ, and that alone may be why" in told
    assert "documents needed" not in told


@pytest.mark.parametrize("control", [FAILED, NOT_RUN, UNMATCHED])
def test_no_number_of_documents_is_named_before_every_control_passes(control):
    told = decide(rate(0, 20), 1.0, [PASSED, control], True, Policy()).reasons
    assert not any("documents needed" in reason for reason in told)
    assert (
        told[-1] == "upper bound 13.9% > limit 1%; no number of documents makes this clean before every control passes"
    )


def test_a_test_that_could_not_have_rejected_claims_nothing():
    one = rate(37, 1, 50)
    told = decide(one, 0.5, [PASSED], True, Policy(), heldout=rate(0, 1, 50), least_p=0.5).reasons[-1]
    assert told == (
        "nothing can be tested with 1 training document and 1 held-out document: p cannot be below 0.5 where 0.05 is"
        " required, whatever the model knows; at least 3 a side are needed; of a single work, ask 'memaudit work'"
    )
    told = decide(rate(1, 40), 0.5, [PASSED], True, Policy(0), heldout=rate(0, 40), least_p=0.5).reasons[-1]
    assert told.startswith("nothing can be tested with 40 training documents and 40 held-out documents: p cannot be")
    assert told.endswith("too few of them have a hit")
    told = decide(rate(9, 40), 0.2, [PASSED], True, Policy(), heldout=rate(5, 40), least_p=1e-4).reasons[-1]
    assert told == (
        "that training text is reproduced more often than held-out text is not shown: p = 0.2, and could have been"
        " 0.0001"
    )


@quick
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 60), st.data(), any_policy)
def test_sides_that_no_outcome_could_tell_apart_are_said_to_show_nothing(train, heldout, windows, data, policy):
    """The law: where 1 / C(m + n, m), the smallest p of any outcome, is above the level, nothing can be tested."""
    hits = data.draw(st.integers(0, train * windows)), data.draw(st.integers(0, heldout * windows))
    sides = [rate(some, count, windows) for some, count in zip(hits, (train, heldout), strict=True)]
    shares = [
        np.minimum(np.maximum(some - windows * np.arange(count), 0), windows) / windows
        for some, count in zip(hits, (train, heldout), strict=True)
    ]
    p = permutation_test(*(each[:, None] for each in shares), seed=0)[0]
    decision = decide(sides[0], p, [PASSED], True, policy, heldout=sides[1])
    told = " ".join(decision.reasons)
    smallest = 1 / math.comb(train + heldout, train)
    if smallest > policy.alpha:
        assert p > policy.alpha and decision.verdict == "inconclusive"
        assert "nothing can be tested with" in told and "memaudit work" in told
        assert f"p cannot be below {p_value(smallest)}" in told
    else:
        assert "nothing can be tested" not in told
    assert "as often as" not in told


@quick
@given(any_rate, any_p, st.lists(any_control, max_size=3), any_policy, st.none() | st.floats(1e-4, 1))
def test_no_reason_claims_that_the_sides_are_alike(train, p, controls, policy, least):
    told = " ".join(decide(train, p, controls, True, policy, least_p=least).reasons)
    assert "as often as" not in told
    assert "no difference" not in told


def test_fingerprints_of_this_version_never_change():
    assert (
        fingerprint("extraction", "train.jsonl:7", "It was the best of times") == "v1:3b789231790bba8988c769af998e8afa"
    )


def test_fingerprints_ignore_space_case_and_composition():
    assert fingerprint("extraction", "d", " Caf\u00e9  au\nLAIT ") == fingerprint(
        "extraction", "d", "cafe\u0301 au lait"
    )


@quick
@given(
    st.tuples(*[st.text(alphabet="ab:1\0", max_size=4)] * 3),
    st.tuples(*[st.text(alphabet="ab:1\0", max_size=4)] * 3),
)
def test_fingerprints_tell_findings_apart(one, other):
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


def test_fingerprints_of_broken_text():
    assert fingerprint("extraction", "d", "\ud800").startswith("v1:")
