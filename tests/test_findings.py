import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.findings import Control, Policy, decide, fingerprint
from memaudit.stats import document_rate, lower_bound, upper_bound

quick = settings(deadline=None, max_examples=100)
PASSED = Control("batch self-test", True, "the same")
FAILED = Control("beats a unigram model", False, "9.1 nats a token, unigram 8.2")
NOT_RUN = Control("held-out text matches", None, "no domains")

any_control = st.sampled_from([PASSED, FAILED, NOT_RUN])
any_rate = st.integers(0, 400).flatmap(lambda n: st.integers(0, n).map(lambda hits: rate(hits, n)))
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
    low, high = (bound(train.hits, train.documents) for bound in (lower_bound, upper_bound))
    found = complete and p is not None and p <= policy.alpha and train.hits > 0 and low > policy.max_rate
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
