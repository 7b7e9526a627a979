"""Servers that give log-probabilities of a text as it is sent: what is read of their answers is what the model says.

Every dialect is asked over HTTP, through the transport that audits use, of a server of ours that speaks it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import ModelError
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.base import SCORES, Dialect
from memaudit.models.remote.dialects.echo import Echo, rank_by_value
from memaudit.models.remote.dialects.given_text import NEUTRAL, rank_among, seed_for
from memaudit.models.remote.dialects.sglang import Sglang
from memaudit.models.remote.dialects.vllm import Vllm
from memaudit.models.remote.results import Scored, Written
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError, Transport
from memaudit.records import Decoding, TokenIds, Window
from memaudit.text.tokenize import special_ids
from tests.models.remote.speaking import ArbitraryModel, Lie, Speaking, Speech, parted_tokenizer, speaking

MODEL = ArbitraryModel()
TOKENIZER = parted_tokenizer()
START = TOKENIZER.bos_id or 0
DIALECTS: dict[Speech, type[Dialect]] = {"vllm": Vllm, "sglang": Sglang, "echo": Echo}
KNOWN = [*TOKENIZER.encode_batch(["naïve ☃"])[0].ids.tolist(), TOKENIZER.eos_id, *range(140, 150)]
"""Whole words, a character in parts, the end token, and others."""


class Direct:
    """A transport to a server of ours without a wire: what it answers can be changed first."""

    url = "http://127.0.0.1/v1"

    def __init__(self, server: Speaking, change: Callable[[Any], Any] = lambda answer: answer) -> None:
        self.server, self.change = server, change

    def ask(self, path: str, body: Any, read: Callable[[Any], Any], **_: Any) -> Any:
        return read(self.change(self.server.post(path[1:] if path.startswith("^") else f"/v1{path}", body)))


def server_of(speech: Speech, *lies: Lie) -> Speaking:
    return Speaking(MODEL, speech, frozenset(lies), None, "m", False, 20)


@cache
def direct(speech: Speech, *lies: Lie) -> Dialect:
    """A dialect that has recognised its server, without a wire."""
    dialect = DIALECTS[speech](Direct(server_of(speech)), "m", TOKENIZER)  # type: ignore[arg-type]
    assert dialect.recognise(begun([5, 6]), ids([7, 8]))
    dialect.transport = Direct(server_of(speech, *lies))  # type: ignore[assignment]
    return dialect


def ids(values: list[int]) -> TokenIds:
    return np.array(values, np.int32)


def begun(values: list[int]) -> TokenIds:
    return ids([START, *values])


def tokens(least: int, most: int) -> st.SearchStrategy[list[int]]:
    """Ids of every kind, the end token and parts of characters among them."""
    one = st.one_of(st.integers(0, TOKENIZER.vocab_size - 1), st.sampled_from(KNOWN))
    return st.lists(one, min_size=least, max_size=most)


class Asked:
    """A dialect and its server; said in few words where a property fails."""

    def __init__(self, dialect: Dialect, server: Speaking) -> None:
        self.dialect, self.server = dialect, server

    def __repr__(self) -> str:
        return f"<{self.dialect.name}>"


@pytest.fixture(scope="module", params=DIALECTS)
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    """A dialect that has recognised its server, over HTTP."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MEMAUDIT_TEST_LOOPBACK", "1")
        with speaking(MODEL, request.param, context=64) as server:
            transport = Transport(server.address, Endpoint(), lambda _: None)
            dialect = DIALECTS[request.param](transport, "m", TOKENIZER)
            assert dialect.recognise(begun([5, 6]), ids([7, 8]))
            yield Asked(dialect, server)
            transport.close()


def check_scores(dialect: Dialect, found: Scored, prefix: list[int], suffix: list[int]) -> None:
    """Compare with what the model says of these tokens."""
    local = MODEL.score([Window(ids(prefix), ids(suffix))])
    assert found.log_prob == pytest.approx(local.log_prob.tolist(), abs=1e-4)
    ranks = local.rank if dialect.listed is None else np.minimum(local.rank, dialect.listed)
    if dialect.name != "echo":
        assert found.rank == ranks.tolist()
        return
    # Parts of characters have one text, so that some are not to be seen: more may count than are likelier.
    assert (np.array(found.rank) >= ranks).all()
    for place, rank in enumerate(ranks):
        if found.rank[place] != rank:
            row = MODEL.next_log_probs([ids(prefix + suffix[:place])])[0]
            likeliest = [TOKENIZER.decode([token]) for token in (*np.argsort(-row)[:20], suffix[place])]
            assert len(set(likeliest)) < len(likeliest)


@settings(max_examples=25)
@given(prefix=tokens(0, 8), suffix=tokens(1, 8))
def test_scores_and_ranks_are_those_of_the_model(asked: Asked, prefix: list[int], suffix: list[int]) -> None:
    dialect = asked.dialect
    check_scores(dialect, dialect.score(begun(prefix), ids(suffix)), prefix, suffix)


def test_the_same_text_may_be_asked_for_another_suffix(asked: Asked) -> None:
    """One request: what is kept of it must hold for both."""
    for cut in (2, 3):
        check_scores(asked.dialect, asked.dialect.score(begun([5, 6, 7, 8][:cut]), ids([5, 6, 7, 8][cut:])),
                     [5, 6, 7, 8][:cut], [5, 6, 7, 8][cut:])  # fmt: skip


def expected(dialect: Dialect, prompt: list[int], length: int) -> Written:
    """What is to be written behind a prompt, by a dialect that goes past an end token or by one that stops there."""
    [local] = MODEL.continuations([ids(prompt)], length)
    whole = local.tolist()
    if dialect.name != "echo":
        return Written(TOKENIZER.decode(local), whole, False)
    ended = TOKENIZER.eos_id in whole
    kept = whole[: whole.index(TOKENIZER.eos_id)] if ended else whole
    return Written(TOKENIZER.pipeline.decode(kept, skip_special_tokens=True), None, ended)


@settings(max_examples=25)
@given(prompt=tokens(0, 8), length=st.integers(1, 12))
def test_greedy_continuations_are_those_of_the_model(asked: Asked, prompt: list[int], length: int) -> None:
    dialect = asked.dialect
    found, wanted = dialect.write(begun(prompt), length, Decoding()), expected(dialect, prompt, length)
    assert (found.text, found.ids, found.ended) == (wanted.text, wanted.ids, wanted.ended)
    [local] = MODEL.continuations([ids(prompt)], length)
    scores = MODEL.score([Window(ids(prompt), local)]).log_prob.tolist()
    assert found.log_prob == pytest.approx(scores[: len(found.log_prob or [])], abs=1e-4)


def test_a_sample_is_the_same_again_and_another_at_another_attempt(asked: Asked) -> None:
    dialect, server = asked.dialect, asked.server
    decoding = Decoding(temperature=1.0, top_p=0.9)
    drawn = [dialect.write(begun([5]), 12, decoding, seed=1, attempt=i, kept=False).text for i in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
    _, body = server.asked[-1]
    sampling = body.get("sampling_params", body)
    assert sampling["temperature"] == 1.0
    assert sampling["top_p"] == 0.9
    others = {"n", "presence_penalty", "frequency_penalty"}
    assert set(sampling) > (set(NEUTRAL) if dialect.name != "echo" else others)


def test_what_a_server_cannot_be_asked_is_refused_before_it_is() -> None:
    both = Decoding(temperature=1.0, top_k=5, top_p=0.9)
    with pytest.raises(ModelError, match="at once, not one after the other"):
        direct("sglang").write(begun([5]), 4, both)
    with pytest.raises(ModelError, match="top-k cannot be seen"):
        direct("echo").write(begun([5]), 4, both)
    assert direct("vllm").write(begun([5]), 4, both).ids
    for speech in DIALECTS:
        with pytest.raises(ModelError, match="nothing before it"):
            direct(speech).score(ids([]), ids([5]))


def test_a_text_beyond_the_context_is_refused(asked: Asked) -> None:
    dialect, server = asked.dialect, asked.server
    assert server.context is not None
    full = server.context - dialect.room
    assert len(dialect.score(begun([5] * (full - 3)), ids([6, 7])).rank) == 2
    with pytest.raises(RefusedRequestError):
        dialect.score(begun([5] * full), ids([6, 7]))


@pytest.mark.parametrize("speech", [*DIALECTS, "text"])
@pytest.mark.parametrize("kind", DIALECTS)
def test_a_dialect_is_known_by_what_is_answered(speech: Speech, kind: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM speaks OpenAI's dialect too."""
    monkeypatch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")
    with speaking(MODEL, speech) as server:
        transport = Transport(server.address, Endpoint(), lambda _: None)
        dialect = DIALECTS[kind](transport, "m", TOKENIZER)
        known = dialect.recognise(begun([5, 6]), ids([7, 8]))
        transport.close()
    assert known == (kind == speech or (speech, kind) == ("vllm", "echo"))
    assert not known or dialect.gives == SCORES


@pytest.mark.parametrize("speech", DIALECTS)
def test_a_server_that_ignores_what_it_is_asked_for_speaks_no_dialect(speech: Speech) -> None:
    for kind in DIALECTS.values():
        for lie in ("echo-ignored", "logprobs-ignored"):
            dialect = kind(Direct(server_of(speech, lie)), "m", TOKENIZER)  # type: ignore[arg-type]
            try:
                assert not dialect.recognise(begun([5, 6]), ids([7, 8]))
            except TypeError:
                assert kind is Sglang  # the path leads nowhere without a wire


@pytest.mark.parametrize(("most", "listed"), [(20, 19), (7, 4), (2, 1)])
def test_as_many_tokens_are_listed_as_a_server_allows(most: int, listed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")
    with speaking(MODEL, "echo", most_listed=most) as server:
        transport = Transport(server.address, Endpoint(), lambda _: None)
        dialect = Echo(transport, "m", TOKENIZER)
        assert dialect.recognise(begun([5, 6]), ids([7, 8]))
        assert dialect.listed == listed
        check_scores(dialect, dialect.score(begun([5, 6, 140]), ids([7, 8, 0, 141])), [5, 6, 140], [7, 8, 0, 141])
        transport.close()


SEEN: tuple[Lie, ...] = (
    *("start-doubled", "start-missing", "prompt-cut", "template", "nan", "positive", "wrong-ids", "few-entries"),
    "other-vocabulary",
)


@pytest.mark.parametrize("speech", DIALECTS)
@pytest.mark.parametrize("lie", SEEN)
def test_an_answer_to_another_question_is_refused(speech: Speech, lie: Lie) -> None:
    with pytest.raises(BadAnswerError):
        direct(speech, lie).score(begun([140, 5, 142, 7, 144, 9, 146]), ids([147, 148, 149, 5]))


@pytest.mark.parametrize("speech", DIALECTS)
@pytest.mark.parametrize("lie", ["start-doubled", "start-missing", "prompt-cut", "template", "longer"])
def test_a_continuation_of_another_prompt_is_refused(speech: Speech, lie: Lie) -> None:
    with pytest.raises(BadAnswerError):
        direct(speech, lie).write(begun([140, 5, 142, 7, 144, 9, 146]), 3, Decoding())


def test_an_end_that_stops_a_text_all_the_same_is_cut_off() -> None:
    """Of a server before which something makes ``ignore_eos`` unknown."""

    def stopped(answer: Any) -> Any:
        end, choice = TOKENIZER.eos_id, answer["choices"][0]
        at = choice["token_ids"].index(end)
        choice |= {"finish_reason": "stop", "token_ids": choice["token_ids"][: at + 1], "logprobs": None}
        return answer

    dialect = copy.copy(direct("vllm"))
    [local] = MODEL.continuations([ids([5])], 40)
    assert TOKENIZER.eos_id in local[1:]
    dialect.transport = Direct(server_of("vllm"), stopped)  # type: ignore[assignment]
    found = dialect.write(begun([5]), 40, Decoding())
    at = local.tolist().index(TOKENIZER.eos_id)
    assert (found.ids, found.ended, found.log_prob) == (local.tolist()[:at], True, None)


# Answers that are not what they should be


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in an answer."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*path, key)
        yield from places(one, (*path, key))


def dropped(parent: Any, key: Any) -> None:
    del parent[key]


def nulled(parent: Any, key: Any) -> None:
    parent[key] = None


def retyped(parent: Any, key: Any) -> None:
    parent[key] = {"nothing": 1} if isinstance(parent[key], str) else "nothing"


def not_a_number(parent: Any, key: Any) -> None:
    parent[key] = math.nan if isinstance(parent[key], float) else [[]]


def shifted(parent: Any, key: Any) -> None:
    if isinstance(parent[key], list) and len(parent[key]) > 1:
        parent[key].insert(0, parent[key].pop())


def shifted_back(parent: Any, key: Any) -> None:
    if isinstance(parent[key], list) and len(parent[key]) > 1:
        parent[key].append(parent[key].pop(0))


def doubled(parent: Any, key: Any) -> None:
    if isinstance(parent, list):
        parent.insert(key, parent[key])


FAULTS = (dropped, nulled, retyped, not_a_number, shifted, shifted_back, doubled)
PROMPT, SUFFIX = [140, 5, 142, 7], [147, 148, 5, 249, 0, 6]
UNREADABLE = {place for place, token in enumerate([START, *PROMPT, *SUFFIX]) if "\ufffd" in TOKENIZER.decode([token])}


@cache
def good(speech: Speech, what: str) -> tuple[Any, Any]:
    """An answer, and what is read of it."""
    dialect, answers = copy.copy(direct(speech)), []

    def noted(answer: Any) -> Any:
        answers.append(copy.deepcopy(answer))
        return answer

    dialect.transport = Direct(server_of(speech), noted)  # type: ignore[assignment]
    found = (
        dialect.score(begun(PROMPT), ids(SUFFIX)) if what == "score" else dialect.write(begun(PROMPT), 6, Decoding())
    )
    return answers[0], found


def not_to_be_seen(speech: Speech, what: str, path: tuple[Any, ...]) -> bool:
    """Whether nothing in an answer tells that something was changed there.

    In lists of the likeliest tokens by text one may be missing for another of the same text; texts that come with ids
    say nothing; without ids, what is written is believed.
    """
    if speech != "echo":
        return False
    inside_list = "top_logprobs" in path and len(path) > path.index("top_logprobs") + 2
    unreadable = "tokens" in path and path[-1] in UNREADABLE
    return inside_list or unreadable or what == "write"


def same(found: Any, wanted: Any) -> bool:
    """Whether as much is read; what is written may come without its log-probabilities."""
    without = found.log_prob is None and isinstance(wanted, Written)
    return bool(found == (replace(wanted, log_prob=None) if without else wanted))


@pytest.mark.parametrize("what", ["score", "write"])
@pytest.mark.parametrize("speech", DIALECTS)
def test_a_malformed_answer_is_refused_or_says_the_same(speech: Speech, what: str) -> None:
    """Whatever is missing, of another kind, shifted or doubled, anywhere in an answer."""
    answer, wanted = good(speech, what)
    dialect = copy.copy(direct(speech))
    outcomes = {"refused": 0, "the same": 0}
    for path in places(answer):
        if "input_top_logprobs" in path and len(path) > 3 and path[3] > 1:
            continue  # as the first of the list
        for fault in FAULTS:
            bad = copy.deepcopy(answer)
            parent = bad
            for key in path[:-1]:
                parent = parent[key]
            fault(parent, path[-1])
            dialect.transport = Direct(server_of(speech), lambda _, bad=bad: bad)  # type: ignore[assignment,misc]
            try:
                found: Any = (
                    dialect.score(begun(PROMPT), ids(SUFFIX))
                    if what == "score"
                    else dialect.write(begun(PROMPT), 6, Decoding())
                )
            except BadAnswerError:
                outcomes["refused"] += 1
            else:
                outcomes["the same"] += 1
                assert same(found, wanted) or not_to_be_seen(speech, what, path), (path, fault.__name__)
    assert min(outcomes.values()) > 20


@pytest.mark.parametrize("speech", DIALECTS)
@pytest.mark.parametrize("answer", [None, [], "<html>", 7, {}, {"choices": []}, {"choices": [{}]}, {"meta_info": {}}])
def test_what_is_no_answer_at_all_is_refused(speech: Speech, answer: Any) -> None:
    dialect = copy.copy(direct(speech))
    dialect.transport = Direct(server_of(speech), lambda _: answer)  # type: ignore[assignment]
    assert not dialect.recognise(begun(PROMPT), ids(SUFFIX))
    with pytest.raises(BadAnswerError):
        dialect.score(begun(PROMPT), ids(SUFFIX))
    with pytest.raises(BadAnswerError):
        dialect.write(begun(PROMPT), 6, Decoding())


# Ranks and seeds


LISTS = st.lists(st.integers(-9, 0), min_size=3, max_size=12).map(lambda values: np.array(values, float))


@given(values=LISTS, data=st.data())
def test_a_rank_among_listed_tokens_is_that_among_all(values: Any, data: st.DataObject) -> None:
    """Of tokens as likely as others too: the smaller id is preferred."""
    listed = data.draw(st.integers(1, len(values)))
    token = data.draw(st.integers(0, len(values) - 1))
    order = np.lexsort((np.arange(len(values)), -values))
    top = {int(i): float(values[i]) for i in order[:listed]}
    rank = int(np.flatnonzero(order == token)[0])
    assert rank_among(token, float(values[token]), top, listed) == min(rank, listed)


@pytest.mark.parametrize(
    ("token", "own", "top"),
    [
        (7, -0.5, {7: -0.2, 8: -2.0}),  # the list has another value for it
        (9, -1.0, {7: -0.2, 8: -2.0}),  # too likely for one outside
        (7, -0.5, {}),
    ],
)
def test_a_log_probability_that_is_not_that_of_its_list_has_no_rank(
    token: int, own: float, top: dict[int, float]
) -> None:
    with pytest.raises(BadAnswerError, match="not those of their tokens"):
        rank_among(token, own, top, 20)


@given(weights=st.lists(st.integers(1, 10_000), min_size=3, max_size=12, unique=True), data=st.data())
def test_a_rank_by_value_never_prefers_a_token_too_much(weights: list[int], data: st.DataObject) -> None:
    """Some texts stand for two tokens, of which one is not to be seen."""
    probabilities = np.array(weights, float) / sum(weights)
    names = data.draw(st.lists(st.sampled_from("abcdef"), min_size=len(weights), max_size=len(weights)))
    listed = data.draw(st.integers(2, len(weights)))
    order = np.argsort(-probabilities)
    token = data.draw(st.integers(0, len(weights) - 1))
    told = [*order[:listed], token] if data.draw(st.booleans()) else [token, *order[:listed]]
    shown = {names[i]: float(np.log(probabilities[i])) for i in told}
    rank = min(int(np.flatnonzero(order == token)[0]), listed - 1)
    found = rank_by_value(float(np.log(probabilities[token])), list(shown.values()), listed)
    assert found >= rank
    if len(set(names)) == len(names):
        assert found == rank


def test_a_tie_with_the_likeliest_token_is_settled_by_id() -> None:
    """vLLM counts all tokens that are as likely as one before it."""

    def tied(answer: Any) -> Any:
        rows = answer["choices"][0]["prompt_logprobs"]
        for place, other in ((2, 3), (3, 200)):
            rows[place] = {"9": {"logprob": -1.5, "rank": 2}, str(other): {"logprob": -1.5, "rank": 1}}
        return answer

    dialect = copy.copy(direct("vllm"))
    dialect.transport = Direct(server_of("vllm"), tied)  # type: ignore[assignment]
    assert dialect.score(begun([5]), ids([9, 9])).rank == [1, 0]


@pytest.mark.parametrize(
    "row",
    [
        {"9": {"logprob": -1.5, "rank": 2}, "\u00b2": {"logprob": -1.0, "rank": 1}},
        {"9": {"logprob": -1.5, "rank": 2}, "x": {"logprob": -1.0, "rank": 1}},
        {"9": {"logprob": -1.5, "rank": 2}},
        {"9": {"logprob": -1.5, "rank": 1}, "8": {"logprob": -1.6, "rank": 1}},
        {"9": {"logprob": -1.5, "rank": 2}, "8": {"logprob": -1.6, "rank": 1}},
        {"9": {"logprob": -1.5, "rank": 0}, "8": {"logprob": -1.0, "rank": 1}},
        {"9": {"logprob": -1.5, "rank": 3}, "8": {"logprob": -1.0, "rank": 2}},
        {"9": {"logprob": -1.5, "rank": True}},
    ],
)
def test_ranks_that_do_not_fit_together_are_refused(row: dict[str, Any]) -> None:
    """Of vLLM's: the likeliest token stands beside another, and a token that is the likeliest stands alone."""

    def changed(answer: Any) -> Any:
        answer["choices"][0]["prompt_logprobs"][2] = row
        return answer

    dialect = copy.copy(direct("vllm"))
    dialect.transport = Direct(server_of("vllm"), changed)  # type: ignore[assignment]
    with pytest.raises(BadAnswerError):
        dialect.score(begun([5]), ids([9, 9]))


def test_seeds_are_of_prompts_and_attempts() -> None:
    drawn = [seed_for(ids(prompt), seed, attempt) for prompt in ([1], [1, 2]) for seed in (0, 1) for attempt in (0, 1)]
    assert len(set(drawn)) == 8
    assert all(0 <= seed < 2**31 for seed in drawn)
    assert drawn[0] == seed_for(ids([1]), 0, 0)


def test_the_tokens_that_are_tried_are_of_every_kind() -> None:
    texts = [TOKENIZER.decode([token]) for token in KNOWN]
    assert any("\ufffd" in text for text in texts)
    assert any(text.isalpha() for text in texts)
    assert set(KNOWN) & special_ids(TOKENIZER)
