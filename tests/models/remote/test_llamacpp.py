"""What llama.cpp says of given tokens, beside the same model on this machine."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import load_model
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects import llamacpp
from memaudit.models.remote.dialects.base import KNOWS_ALL, SCORES, WRITES
from memaudit.models.remote.dialects.llamacpp import LlamaCpp, entries_of
from memaudit.models.remote.transport import BadAnswerError, Transport
from memaudit.records import GREEDY, Decoding, TokenIds, Window
from tests.models.remote.learnt import PREFIX, SUFFIX, learnt
from tests.models.remote.servers import LOOPBACK, llama_cpp

CLOSE = 1e-4
Make = Callable[[], LlamaCpp]


@pytest.fixture(scope="module")
def local() -> LanguageModel:
    return load_model(str(learnt().folder))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with llama_cpp(learnt().gguf, context=96) as address:
        yield address


@pytest.fixture
def make(address: str, local: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv(LOOPBACK, "1")
    transport = Transport(address, Endpoint(), print)
    yield lambda: LlamaCpp(transport, "learnt", local.tokenizer)
    transport.close()


@pytest.fixture(scope="module")
def windows(local: LanguageModel) -> list[Window]:
    """Windows of both sides, and suffixes of every kind of token: parts of characters, the end, special ones."""
    lines = [line for file in learnt()[2:] for line in file.read_text().splitlines()]
    encoded = local.tokenizer.encode_batch([json.loads(line)["text"] for line in lines[::9]])
    found = [Window(e.ids[:PREFIX], e.ids[PREFIX : PREFIX + SUFFIX]) for e in encoded]
    [odd] = local.tokenizer.encode_batch(["naïve Ⅷ日本𝔘 — \u0000\n\n  end"])
    assert len(odd) > 20
    ends = np.array([*found[0].suffix[:3], 0, *found[0].suffix[3:6], 0], np.int32)
    special = np.array([1, 2, *found[1].suffix[:2]], np.int32)
    return [*found, *(Window(found[0].prefix, suffix) for suffix in (odd.ids, ends, special, found[0].suffix[:1]))]


def begun(window: Window) -> TokenIds:
    return np.append(np.int32(0), window.prefix).astype(np.int32)


def recognised(dialect: LlamaCpp, window: Window) -> LlamaCpp:
    assert dialect.recognise(begun(window), window.suffix)
    return dialect


def test_log_probabilities_ranks_and_moments_are_those_of_the_model(
    make: Make, local: LanguageModel, windows: list[Window]
) -> None:
    dialect = recognised(make(), windows[0])
    assert dialect.gives == KNOWS_ALL
    assert dialect.listed is None
    for window, ours in zip(windows, local.score(windows), strict=True):
        told = dialect.score(begun(window), window.suffix)
        np.testing.assert_allclose(told.log_prob, ours.log_prob, atol=CLOSE)
        assert told.rank == ours.rank.tolist()
        np.testing.assert_allclose(np.array([told.mean, told.std]), [ours.mean, ours.std], atol=1e-3)


@pytest.mark.parametrize("way", ["grammar", "bias"])
def test_of_a_larger_vocabulary_ranks_end_at_the_listed_ones(
    make: Make, local: LanguageModel, windows: list[Window], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp, "WHOLE", 256)
    dialect = recognised(make(), windows[0])
    assert dialect.gives == SCORES
    assert dialect.listed == llamacpp.LISTED
    if way == "bias":
        dialect._by_grammar = False
    chosen = windows if way == "grammar" else windows[-4:]
    beyond = 0
    for window, ours in zip(chosen, local.score(chosen), strict=True):
        told = dialect.score(begun(window), window.suffix)
        np.testing.assert_allclose(told.log_prob, ours.log_prob, atol=CLOSE)
        assert told.rank == np.minimum(ours.rank, llamacpp.LISTED).tolist()
        assert told.mean is None
        beyond += int((ours.rank > llamacpp.LISTED).sum())
    assert beyond


def test_a_piece_that_no_grammar_takes_is_asked_token_by_token(
    make: Make, local: LanguageModel, windows: list[Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = recognised(make(), windows[0])
    monkeypatch.setattr(LlamaCpp, "_fits", lambda dialect, token: True)  # NUL too, which is answered with 500
    nul = local.tokenizer.encode_batch(["a\0b"])[0].ids
    window = Window(windows[0].prefix, nul)
    told, [ours] = dialect.score(begun(window), nul), local.score([window])
    np.testing.assert_allclose(told.log_prob, ours.log_prob, atol=CLOSE)
    assert told.rank == ours.rank.tolist()


def test_answers_about_two_tokens_behind_one_prompt_are_kept_apart(
    make: Make, local: LanguageModel, windows: list[Window]
) -> None:
    dialect, prompt = recognised(make(), windows[0]), windows[0].prefix
    parts = [i for i in range(3, 259) if "\ufffd" in local.tokenizer.decode([i])][:2]
    for part in parts:
        suffix = np.array([part], np.int32)
        [ours] = local.score([Window(prompt, suffix)]).log_prob
        assert dialect.score(begun(windows[0]), suffix).log_prob == pytest.approx([ours], abs=CLOSE)


def test_a_token_that_is_forced_and_a_list_behind_one_prompt_are_kept_apart(
    make: Make, local: LanguageModel, windows: list[Window]
) -> None:
    dialect, prompt = recognised(make(), windows[0]), begun(windows[0])
    dialect._by_grammar = False
    suffix = np.array([dialect._plain], np.int32)
    told = dialect.next_log_probs(prompt)
    assert dialect.score(prompt, suffix).log_prob == pytest.approx([told[dialect._plain]], abs=CLOSE)
    assert dialect.next_log_probs(prompt) == told


@pytest.mark.parametrize("whole", [True, False])
def test_a_list_that_is_shorter_than_the_first_is_no_rank(
    make: Make, windows: list[Window], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        monkeypatch.setattr(llamacpp, "WHOLE", 256)
    dialect = recognised(make(), windows[0])
    inner, short = dialect.transport.ask, [True]

    def cut(path: str, body: dict[str, Any], read: Any, **how: Any) -> Any:
        def changed(answer: Any) -> Any:
            for entry in answer["choices"][0]["logprobs"]["content"] if short and short.pop() else ():
                entry["top_logprobs"] = entry["top_logprobs"][:40]
            return read(answer)

        return inner(path, body, changed, **how)

    honest = dialect.score(begun(windows[0]), windows[0].suffix, kept=False)
    dialect.transport.ask = cut  # type: ignore[method-assign,assignment]
    assert dialect.score(begun(windows[0]), windows[0].suffix, kept=False).rank == honest.rank
    assert not short


def test_a_server_that_lists_fewer_than_it_is_asked_for_says_how_far_ranks_go(
    make: Make, windows: list[Window]
) -> None:
    dialect = make()
    inner = dialect.transport.ask

    def few(path: str, body: dict[str, Any], read: Any, **how: Any) -> Any:
        def changed(answer: Any) -> Any:
            for choice in answer.get("choices", ()):
                for entry in choice["logprobs"]["content"]:
                    entry["top_logprobs"] = entry["top_logprobs"][:5]
            return read(answer)

        return inner(path, body, changed, **how)

    dialect.transport.ask = few  # type: ignore[method-assign,assignment]
    assert dialect.recognise(begun(windows[0]), windows[0].suffix)
    assert (dialect.gives, dialect.listed) == (SCORES, 5)
    assert max(dialect.score(begun(windows[-1]), windows[-1].suffix).rank) <= 5


def test_it_writes_what_the_model_writes(make: Make, local: LanguageModel, windows: list[Window]) -> None:
    dialect = recognised(make(), windows[0])
    for window, ours in zip(windows, local.greedy_continuations(windows), strict=True):
        told = dialect.write(begun(window), len(window.suffix), GREEDY)
        assert told.ids is not None
        kept = ours.tolist()[: ours.tolist().index(0)] if 0 in ours else ours.tolist()
        assert told.ids == kept
        assert told.ended == (0 in ours)


def test_samples_are_drawn_from_the_distribution_that_was_asked_for(
    make: Make, local: LanguageModel, windows: list[Window]
) -> None:
    dialect, prompt = recognised(make(), windows[-1]), windows[-1].prefix[:3]
    decoding = Decoding(temperature=2.0, top_k=3)
    likeliest = np.argsort(-local.next_log_probs([prompt])[0])[:3]
    drawn = [
        dialect.write(np.append(np.int32(0), prompt), 1, decoding, seed=5, attempt=attempt).ids for attempt in range(30)
    ]
    assert {tokens[0] for tokens in drawn if tokens} <= set(likeliest.tolist())
    assert len({tuple(tokens or ()) for tokens in drawn}) > 1


def test_distributions_are_those_of_the_model(make: Make, local: LanguageModel, windows: list[Window]) -> None:
    dialect = recognised(make(), windows[0])
    [ours] = local.next_log_probs([windows[0].prefix])
    told = dialect.next_log_probs(begun(windows[0]))
    assert sorted(told) == list(range(local.tokenizer.vocab_size))
    np.testing.assert_allclose([told[i] for i in sorted(told)], ours, atol=CLOSE)


def test_a_server_whose_bias_changes_what_it_reports_is_not_believed(make: Make, windows: list[Window]) -> None:
    dialect = make()
    inner = dialect.transport.ask

    def biased(path: str, body: dict[str, Any], read: Any, **how: Any) -> Any:
        def changed(answer: Any) -> Any:
            if "logit_bias" in body or "grammar" in body:
                for entry in answer["choices"][0]["logprobs"]["content"]:
                    entry["logprob"] = 0.0
                    entry["top_logprobs"] = [
                        {**one, "logprob": 0.0 if one["id"] == entry["id"] else -40.0} for one in entry["top_logprobs"]
                    ]
            return read(answer)

        return inner(path, body, changed, **how)

    dialect.transport.ask = biased  # type: ignore[method-assign,assignment]
    dialect.recognise(begun(windows[0]), windows[0].suffix)
    assert dialect.gives == WRITES


GOOD: dict[str, Any] = {
    "choices": [
        {
            "text": "ab",
            "finish_reason": "length",
            "logprobs": {
                "content": [
                    {
                        "id": token, "token": "x", "logprob": value,
                        "top_logprobs": [{"id": 7, "logprob": -0.5}, {"id": 8, "logprob": -2.0}],
                    }
                    for token, value in ((7, -0.5), (9, -3.0), (8, -2.0))
                ]
            },
        }
    ],
    "usage": {"prompt_tokens": 4, "completion_tokens": 3},
}  # fmt: skip


def test_a_good_answer_is_read() -> None:
    assert [(entry.id, entry.log_prob) for entry in entries_of(GOOD, 3)] == [(7, -0.5), (9, -3.0), (8, -2.0)]


@given(st.data())
def test_an_answer_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    answer = copy.deepcopy(GOOD)
    content = answer["choices"][0]["logprobs"]["content"]
    kind = data.draw(st.sampled_from(["drop", "shift", "nan", "positive", "swap", "type", "more"]))
    place = data.draw(st.integers(0, 2))
    if kind == "drop":
        del content[place][data.draw(st.sampled_from(["id", "logprob", "top_logprobs"]))]
    elif kind == "shift":
        values = [entry["logprob"] for entry in content]
        for entry, value in zip(content, [*values[1:], values[0]], strict=True):
            entry["logprob"] = value
    elif kind in ("nan", "positive"):
        content[place]["logprob"] = float("nan") if kind == "nan" else 0.7
    elif kind == "swap":
        content[place]["top_logprobs"] = content[place]["top_logprobs"][:1] * 2
    elif kind == "type":
        content[place][data.draw(st.sampled_from(["id", "logprob", "top_logprobs"]))] = data.draw(
            st.sampled_from([None, "1", [], {}, True])
        )
    else:
        content.append(content[place])
    with pytest.raises(BadAnswerError):
        entries_of(answer, 3)


def test_a_text_that_is_known_by_heart_hides_no_shift() -> None:
    """All its log-probabilities are nearly nought, and nearly one another."""
    answer = copy.deepcopy(GOOD)
    content = answer["choices"][0]["logprobs"]["content"]
    for entry, value in zip(content, (-1e-4, -3e-4, -2e-3), strict=True):
        entry |= {"id": 7, "logprob": value, "top_logprobs": [{"id": 7, "logprob": value}]}
    assert len(entries_of(answer, 3)) == 3
    content[0]["logprob"], content[1]["logprob"] = content[1]["logprob"], content[0]["logprob"]
    with pytest.raises(BadAnswerError):
        entries_of(answer, 3)


@pytest.mark.parametrize("answer", [None, [], {}, {"choices": []}, {"choices": [{"logprobs": None}]}, "<html>", 7])
def test_what_is_no_answer_is_refused(answer: Any) -> None:
    with pytest.raises(BadAnswerError):
        entries_of(answer, 3)
