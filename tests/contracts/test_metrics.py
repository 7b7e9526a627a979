"""What every metric promises in the registry, checked on every metric in six scripts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from memaudit.metrics import METRICS, PRIMARY
from memaudit.metrics.base import Outcome
from memaudit.metrics.fuzzy import bleu, edit_similarity, rouge_l, rouge_l_text
from memaudit.metrics.likelihood import bits_per_byte
from memaudit.metrics.verbatim import (
    extraction_strength,
    is_extractable,
    longest_common_run,
    matched_tokens,
)
from memaudit.records import WindowRecord
from tests.strategies import SAMPLES, pairs


def on_ids(function):
    """Let a metric of token ids see the code points of a text as ids."""
    return lambda *texts: function(*(np.array([ord(c) for c in text], np.int32) for text in texts))


def on_ranks(function):
    """Let a metric of ranks see rank 0 where the continuation has the reference's character."""
    return lambda a, b: function(np.array([x != y for x, y in zip(a, b, strict=True)], np.int32))


def length_of_run(a, b):
    return longest_common_run(a, b).length


OF_PAIRS = {
    "longest_common": on_ids(length_of_run),
    "edit_similarity": on_ids(edit_similarity),
    "edit_similarity_text": edit_similarity,
    "rouge_l": on_ids(rouge_l),
    "rouge_l_text": rouge_l_text,
    "bleu": on_ids(bleu),
}
OF_RANKS = {
    "extractable": on_ranks(is_extractable),
    "matched": on_ranks(matched_tokens),
    "extraction_strength": on_ranks(extraction_strength),
}
OF_LOG_PROBS = {
    "bits_per_byte": lambda log_probs: bits_per_byte(sum(log_probs), "x" * len(log_probs)),
}
OTHER_SCRIPT = dict(zip(SAMPLES, [*list(SAMPLES)[1:], next(iter(SAMPLES))], strict=True))

by_script = pytest.mark.parametrize("script", SAMPLES)
pair_metrics = pytest.mark.parametrize("name", OF_PAIRS)


def test_every_metric_is_checked_here():
    assert set(METRICS) == {*OF_PAIRS, *OF_RANKS, *OF_LOG_PROBS}


def test_the_primary_metric_has_a_threshold():
    assert METRICS[PRIMARY].threshold is not None


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_explains_itself(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.label
    assert metric.definition.endswith(".")
    if metric.threshold is not None:
        assert metric.low < metric.threshold <= metric.high


def test_metrics_are_named_as_the_fields_of_a_record():
    derived = set(OF_LOG_PROBS)
    assert set(METRICS) - derived <= set(WindowRecord.__dataclass_fields__)


@by_script
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_computes_itself_of_an_outcome(name, script):
    text, other = SAMPLES[script], SAMPLES[OTHER_SCRIPT[script]][: len(SAMPLES[script])]
    other = other.ljust(len(text), "§")
    ids, written = (np.array([ord(c) for c in t], np.int32) for t in (text, other))
    ranks = (ids != written).astype(np.int32)
    outcome = Outcome(ids, text, matched_tokens(ranks), ranks, -3.5, written, other)
    expected = {
        **{pair: function(text, other) for pair, function in {**OF_PAIRS, **OF_RANKS}.items()},
        "bits_per_byte": bits_per_byte(-3.5, text),
    }
    assert METRICS[name].compute(outcome) == expected[name]
    of = {"bits_per_byte": "likelihood", "extraction_strength": "ranks"}
    assert METRICS[name].of == of.get(name, "match" if name in OF_RANKS else "writing")


def test_what_was_not_written_is_not_measured():
    outcome = Outcome(np.array([1], np.int32), "a", 0)
    with pytest.raises(ValueError, match="was not asked to write"):
        METRICS["rouge_l"].compute(outcome)
    assert METRICS["bits_per_byte"].compute(outcome) is None
    assert METRICS["extraction_strength"].compute(outcome) is None


@by_script
@pytest.mark.parametrize("name", {**OF_PAIRS, **OF_RANKS})
def test_identical_text_has_the_largest_value_and_is_a_hit(name, script):
    text = SAMPLES[script]
    metric = METRICS[name]
    value = {**OF_PAIRS, **OF_RANKS}[name](text, text)
    assert value == (len(text) if metric.high is None else metric.high)
    assert metric.hit(value) is (None if metric.threshold is None else True)


@by_script
@pair_metrics
def test_disjoint_text_has_the_smallest_value_and_is_no_hit(name, script):
    a, b = SAMPLES[script], SAMPLES[OTHER_SCRIPT[script]]
    b = "".join(c for c in b if c not in a and not c.isspace())
    metric = METRICS[name]
    value = OF_PAIRS[name](a, b)
    assert value == metric.low
    assert not metric.hit(value)


@by_script
@pytest.mark.parametrize("name", OF_RANKS)
def test_ranks_of_another_text_have_the_smallest_value(name, script):
    text = SAMPLES[script]
    assert OF_RANKS[name](text, "§" * len(text)) == METRICS[name].low


@settings(deadline=None, max_examples=60)
@given(pairs())
def test_values_stay_in_range_and_symmetric_metrics_are(pair):
    for name, function in OF_PAIRS.items():
        metric, value = METRICS[name], function(*pair)
        if value is not None:
            assert math.isfinite(value)
            assert metric.low <= value <= (max(map(len, pair)) if metric.high is None else metric.high)
        if metric.symmetric:
            assert function(*reversed(pair)) == value


@pytest.mark.parametrize("name", [name for name in OF_PAIRS if name != "longest_common"])
@pytest.mark.parametrize("pair", [("", ""), ("a", ""), ("", "a")])
def test_empty_text_is_undefined(name, pair):
    assert OF_PAIRS[name](*pair) is None
    assert METRICS[name].hit(None) is None


@pytest.mark.parametrize("name", OF_LOG_PROBS)
def test_likelihood_metrics_have_their_direction(name):
    metric, function = METRICS[name], OF_LOG_PROBS[name]
    known, unknown = function([-0.01, -0.02]), function([-5.0, -7.0])
    assert (known > unknown) is metric.more_is_memorized
    best = metric.high if metric.more_is_memorized else metric.low
    assert function([0.0, 0.0]) == best


@pytest.mark.parametrize(
    ("name", "value", "hit"),
    [
        ("bleu", 0.75, False),
        ("bleu", 0.7501, True),
        ("edit_similarity", 0.9, True),
        ("edit_similarity", 0.89, False),
        ("rouge_l", 0.8, True),
        ("extractable", True, True),
        ("extractable", False, False),
    ],
)
def test_thresholds(name, value, hit):
    assert METRICS[name].hit(value) is hit
