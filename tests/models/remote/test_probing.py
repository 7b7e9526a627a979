"""The checks of a probe, each on answers that are made for it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import pytest

from memaudit.errors import ModelError
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.base import SCORES, Dialect
from memaudit.models.remote.probing.agreement import (
    AGREEMENT,
    GREEDILY,
    bound,
    check_agreement,
    check_far,
    check_noise,
    check_spaces,
    refuse_shifted_lists,
)
from memaudit.models.remote.probing.counting import (
    BEYOND,
    START,
    WHOLE,
    Counted,
    Counter,
    check_beyond,
    refuse_otherwise,
)
from memaudit.models.remote.probing.ending import check_end
from memaudit.models.remote.probing.serving import check_model, find_served
from memaudit.models.remote.probing.texts import PLAIN, SCRIPTS, long_ids, prompt_of, prompts_of
from memaudit.models.remote.probing.trials import (
    Noise,
    Passage,
    Trial,
    are_of_one_model,
    behaviour_of,
    marks_of,
    noise_between,
    try_alone,
)
from memaudit.models.remote.probing.witness import MOST, SAME, Exchange, Witness, exchange_of
from memaudit.models.remote.results import Scored, Written
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError, Transport
from memaudit.records import GREEDY, Decoding, TokenIds
from memaudit.text.tokenize import train_tokenizer

URL = "http://told/v1"
BYTES = train_tokenizer("byte", [])
Answer = Callable[[str, Mapping[str, Any]], Any]


class Told:
    """Stands where a transport does; answers by a function, and says by exceptions what a server refuses."""

    url, fingerprint = URL, None

    def __init__(self, answer: Answer, got: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.answer, self.got, self.endpoint = answer, got or {}, Endpoint(**options)
        self.asked: list[Mapping[str, Any]] = []

    def get(self, path: str) -> Any:
        return self.got.get(path)

    def ask(self, path: str, body: Mapping[str, Any], read: Any, *, kept: bool, **_: Any) -> Any:
        assert not kept
        self.asked.append(body)
        return read(self.answer(path, body))

    def tell(self, line: str) -> None:
        raise AssertionError(line)


def transport(answer: Answer, got: Mapping[str, Any] | None = None, **options: Any) -> Transport:
    return cast("Transport", Told(answer, got, **options))


def nothing(_: str, __: Any) -> Any:
    raise RefusedRequestError("no", status=404)


def listing(*entries: Any) -> dict[str, Any]:
    return {"/models": {"object": "list", "data": list(entries)}}


@pytest.mark.parametrize(
    ("got", "name", "served", "context"),
    [
        (listing({"id": "a", "max_model_len": 64}), "", "a", 64),
        (listing({"id": "a"}, {"id": "b", "meta": {"n_ctx": 32, "n_ctx_train": 99}}), "b", "b", 32),
        (listing({"id": "a/b.gguf", "aliases": ["b"]}), "b", "b", None),
        ({"/models": [{"id": "a"}], "^/info": {"max_total_tokens": 48}}, "", "a", 48),
        (listing({"id": "a"}) | {"^/props": {"default_generation_settings": {"n_ctx": 16}}}, "", "a", 16),
        ({}, "any", "any", None),
        ({"/models": {"data": "?"}}, "any", "any", None),
    ],
)
def test_who_is_served_and_how_much_it_reads(got: Any, name: str, served: str, context: int | None) -> None:
    assert find_served(transport(nothing, got), Endpoint(served_name=name))[:2] == (served, context)


@pytest.mark.parametrize(
    ("got", "name", "words"),
    [
        (listing({"id": "a"}, {"id": "b"}), "", "serves 2 models; it serves a, b"),
        (listing({"id": "a"}), "b", "does not serve b; it serves a"),
        (listing(*({"id": f"m{i}"} for i in range(20))), "x", "m7 and 12 more"),
        ({}, "", "lists no models"),
        (listing({"id": "a\x1b[2J"}, {"id": "x" * 9999}), "", "lists no models"),
    ],
)
def test_a_name_that_is_not_clear_is_asked_for(got: Any, name: str, words: str) -> None:
    with pytest.raises(ModelError, match="--served-model-name") as caught:
        find_served(transport(nothing, got), Endpoint(served_name=name))
    assert words in str(caught.value)


def test_an_answer_of_another_model_that_is_served_there_is_refused() -> None:
    here, names = transport(nothing), frozenset(("a", "b"))
    check_model(here, "a", names, {"a"})
    check_model(here, "a", names, {"/models/a.gguf", "a-2026-01-01"})
    with pytest.raises(ModelError, match="was asked for a and answers as b"):
        check_model(here, "a", names, {"b"})


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([(9, 9), (25, 25)], ""),
        ([(9, 10), (25, 26)], "start token of its own"),
        ([(9, 8), (25, 24)], "start token is missing"),
        ([(9, 9), (25, 16)], "cuts prompts: 25 tokens were sent and 16"),
        ([(9, 6), (25, 6)], "cuts prompts"),
        ([(9, 11), (25, 27)], "two tokens of its own"),
        ([(9, 20), (25, 36)], "wraps every prompt in 11 tokens more"),
    ],
)
def test_counts_tell_what_is_done_to_prompts(counts: list[tuple[int, int]], words: str) -> None:
    told = [Counted(sent, counted, begun=True) for sent, counted in counts]
    if not words:
        refuse_otherwise(URL, told, [])
        return
    with pytest.raises(ModelError, match=words):
        refuse_otherwise(URL, told, [])


def counting(count: Callable[[Any], int | None]) -> Answer:
    """Answer completions with so many tokens of prompt, and nothing else."""

    def answer(path: str, body: Mapping[str, Any]) -> Any:
        if path != "/completions":
            raise RefusedRequestError("no", status=404)
        told = count(body["prompt"])
        return {"choices": [{"text": ""}], **({} if told is None else {"usage": {"prompt_tokens": told}})}

    return answer


def counter(answer: Answer, context: int | None = None, **options: Any) -> Counter:
    return Counter(Witness(transport(answer, **options)), "m", BYTES, context)


def test_a_start_token_that_is_put_where_none_is_sent_is_noted() -> None:
    def count(prompt: Any) -> int:
        return len(prompt.encode()) + 1 if isinstance(prompt, str) else len(prompt) + (prompt[0] != BYTES.bos_id)

    read = counter(counting(count)).read()
    assert (read.takes_ids, read.puts_start) == (True, True)
    assert all(control.passed for control in read.controls)


def test_what_is_not_counted_is_not_known() -> None:
    here = counter(counting(lambda _: None))
    controls = {control.name: control.passed for control in here.read().controls}
    assert controls[START] is controls[WHOLE] is None


def test_text_that_is_not_counted_is_left_to_the_recital_control() -> None:
    def answer(path: str, body: Mapping[str, Any]) -> Any:
        if not isinstance(body["prompt"], str):
            raise RefusedRequestError("prompt must be a string", status=400)
        return counting(lambda _: None)(path, body)

    assert [control.passed for control in counter(answer).read().controls] == [None, None, None]
    assert counter(answer, recital="known.txt").read().controls == ()


def test_ids_that_are_none_are_no_tokens_of_a_text() -> None:
    assert counter(lambda *_: {"tokens": [5, -1]}).tokenized("a") is None
    assert counter(lambda *_: {"tokens": [5, 7]}).tokenized("a") == [5, 7]


def test_a_missing_count_is_asked_for_again() -> None:
    left = [None, None, 7]
    assert counter(counting(lambda _: left.pop(0))).count([1, 2], 2) == 7


def test_a_prompt_beyond_the_context() -> None:
    def refusing(path: str, body: Mapping[str, Any]) -> Any:
        if len(body["prompt"]) > 64:
            raise RefusedRequestError("too long", status=400)
        return counting(len)(path, body)

    def outcome(answer: Answer, context: int | None = 64, **options: Any) -> str | None:
        told = check_beyond(counter(answer, context, **options), takes_ids=True)
        return None if told is None else f"{told.passed} {told.detail}"

    assert outcome(refusing) == "True one of 72 tokens, the context being 64, gets 400"
    assert outcome(counting(len)) == "True one of 72 tokens is read whole, beyond the stated context of 64"
    assert str(outcome(counting(lambda _: None))).startswith("None")
    assert outcome(refusing, None) is None
    assert "by us" in str(outcome(refusing, max_tokens=200))
    with pytest.raises(ModelError, match="cuts prompts: 72 tokens were sent, beyond its context of 64, and 64"):
        outcome(counting(lambda ids: min(len(ids), 64)))
    assert BEYOND


def test_prompts_are_what_their_text_is_encoded_as() -> None:
    bpe = train_tokenizer("bpe", PLAIN, 400)
    for tokenizer in (BYTES, bpe):
        made = [prompt_of(tokenizer, text, length) for text in (*PLAIN, *SCRIPTS) for length in (8, 13, 24)]
        for ids in made:
            assert ids is not None
            assert np.array_equal(tokenizer.encode_batch([tokenizer.decode(ids)])[0].ids, ids)
    words = train_tokenizer("word", PLAIN)
    assert len(prompts_of(words, (*PLAIN, *SCRIPTS), [8])) == len(PLAIN), "not those with words that it does not know"
    assert len(long_ids(BYTES, 5_000)) == 5_000


@pytest.mark.parametrize(
    ("body", "answer", "told"),
    [
        (
            {"prompt": [1, 2]},
            {"choices": [{"text": "a"}], "usage": {"prompt_tokens": 2}},
            {"sent": (1, 2), "counted": 2},
        ),
        ({"prompt": "ab"}, {"tokens_evaluated": 3, "model": "m"}, {"sent": "ab", "counted": 3, "model": "m"}),
        ({"messages": []}, {"choices": [{"finish_reason": "stop"}]}, {"sent": None, "finish": "stop"}),
        ({"input_ids": [4]}, {"meta_info": {"prompt_tokens": 1}}, {"sent": (4,), "counted": 1, "of_prompt": False}),
        (
            {"input_ids": [4], "logprob_start_len": 0},
            {"meta_info": {"id": "1"}},
            {"wants_prompt": True, "of_prompt": None},
        ),
        ({"prompt_logprobs": 1}, {"choices": [{"prompt_logprobs": None}]}, {"wants_prompt": True, "of_prompt": None}),
        ({"prompt_logprobs": 1}, {"choices": [{"prompt_logprobs": [None, {}]}]}, {"of_prompt": True}),
        (
            {"prompt": [1, 2], "prompt_logprobs": 1},
            {"choices": [{"prompt_logprobs": [None, {"9": {"logprob": -1}, "2": {"logprob": -3}}]}]},
            {"of_sent": (-3.0,)},
        ),
        ({"prompt": [1, 2]}, {"choices": [{"prompt_logprobs": [None, {"9": {"logprob": -1}}]}]}, {"of_sent": ()}),
        ({"echo": True}, {"choices": [{"logprobs": {"token_logprobs": [-1.0]}}]}, {"listed": True, "of_prompt": False}),
        ({"echo": True}, {"choices": [{"logprobs": {"token_logprobs": [None, -1.0]}}]}, {"of_prompt": True}),
        ({}, [{"error": 1}], {"counted": None, "of_generated": False}),
        ({"prompt": [[1]]}, "<html>", {"sent": (1,), "model": None}),
    ],
)
def test_what_matters_of_an_answer_is_found_in_every_form(body: Any, answer: Any, told: Mapping[str, Any]) -> None:
    exchange = exchange_of("/completions", body, answer)
    assert {name: getattr(exchange, name) for name in told} == told


def test_a_bad_answer_is_asked_for_again_and_a_habit_is_not() -> None:
    left = ["bad", "worse", "bad", {"choices": []}]

    def read(answer: Any) -> Any:
        if isinstance(answer, str):
            raise BadAnswerError(answer)
        return answer

    witness = Witness(transport(lambda *_: left.pop(0)))
    assert witness.ask("/completions", {}, read, tokens=1, kept=True) == {"choices": []}
    assert (len(witness.seen), witness.given_up) == (4, 0)
    always = Witness(transport(lambda *_: "bad"))
    with pytest.raises(ModelError, match=f"{URL}: bad"):
        always.ask("/completions", {}, read, tokens=1)
    assert (len(always.seen), always.given_up) == (SAME, 1)
    bare = transport(lambda *_: "bad")
    bare.url = "http://h:1"
    with pytest.raises(ModelError, match=re.escape("bad (is it http://h:1/v1?)")):
        Witness(bare).ask("/completions", {}, read, tokens=1)
    numbers = iter(range(100))
    with pytest.raises(ModelError):
        Witness(transport(lambda *_: str(next(numbers)))).ask("/completions", {}, read, tokens=1)
    assert next(numbers) == MOST


def entries(values: list[float], listed: list[float]) -> Exchange:
    content = [
        {"id": i, "logprob": value, "top_logprobs": [{"id": i, "logprob": other}, {"id": 99, "logprob": -9.0}]}
        for i, (value, other) in enumerate(zip(values, listed, strict=True))
    ]
    return exchange_of("/completions", {}, {"choices": [{"logprobs": {"content": content}}]})


def test_values_of_the_next_token_are_recognised_by_the_lists() -> None:
    true = [-0.5, -1.0, -2.0, -3.0, -4.0]
    moved = entries([*true[1:], true[0]], true)
    back = entries([true[-1], *true[:-1]], true)
    for shifted in (moved, back):
        with pytest.raises(ModelError, match="shifted by one"):
            refuse_shifted_lists(URL, [shifted] * 3)
    refuse_shifted_lists(URL, [moved] * 2)
    refuse_shifted_lists(URL, [moved] * 3 + [entries(true, true)] * 3)
    refuse_shifted_lists(URL, [entries([-1.0] * 5, [-1.0] * 5)] * 9)


class Made(Dialect):
    """Says of tokens what it is made to say: a function of what stands before a token, and of the token."""

    name, label = "made", "made"

    def __init__(self, log_prob: Callable[[list[int], int], float], rank: int = 0, shown: float = 0.0) -> None:
        super().__init__(transport(nothing), "m", BYTES)
        self.log_prob, self.rank, self.shown, self.gives = log_prob, rank, shown, SCORES

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        return bool(len(prompt) + len(suffix))

    def values(self, prompt: TokenIds, ids: TokenIds) -> list[float]:
        whole = [*prompt.tolist(), *ids.tolist()]
        return [self.log_prob(whole[:at], whole[at]) for at in range(len(prompt), len(whole))]

    def score(self, prompt: TokenIds, suffix: TokenIds, *, kept: bool = True, attempt: int = 0) -> Scored:
        assert not (kept or attempt)
        return Scored(self.values(prompt, suffix), [self.rank] * len(suffix))

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        assert decoding is GREEDY
        assert not (seed or attempt or kept)
        ids = np.arange(40, 40 + length, dtype=np.int32)
        return Written(BYTES.decode(ids), ids.tolist(), False, [v + self.shown for v in self.values(prompt, ids)])


def passage(seed: int = 0) -> Passage:
    ids = np.random.default_rng(seed).integers(3, 259, 24).astype(np.int32)
    return Passage(ids[:16], ids[16:])


def of_place(before: list[int], token: int) -> float:
    return -((7 * len(before) + token) % 11) - 0.25


QUIET = Noise(0.0, 0, 6, 48)


def test_log_probabilities_that_agree_pass_and_rounded_ones_are_said_to_differ() -> None:
    dialect = Made(of_place)
    agreement, greedily = check_agreement(URL, dialect, try_alone(dialect, [passage()]), QUIET)
    assert (agreement.name, agreement.passed, greedily.name, greedily.passed) == (AGREEMENT, True, GREEDILY, True)
    rounded = Made(of_place, shown=0.05)
    assert check_agreement(URL, rounded, try_alone(rounded, [passage()]), QUIET)[0].passed is False
    assert check_agreement(URL, rounded, try_alone(rounded, [passage()]), Noise(0.1, 0, 6, 48))[0].passed is True


def test_log_probabilities_of_another_text_are_refused() -> None:
    other = Made(of_place, shown=-2.0)
    with pytest.raises(ModelError, match="not those of the same text written: up to 2 nats apart"):
        check_agreement(URL, other, try_alone(other, [passage()]), QUIET)
    passed_over = Made(of_place, rank=1)
    with pytest.raises(ModelError, match="does not take the likeliest token: 8 of 8 tokens"):
        check_agreement(URL, passed_over, try_alone(passed_over, [passage()]), QUIET)


def test_a_text_scored_otherwise_than_its_tokens_alone_is_shifted_or_wrapped() -> None:
    class Moved(Made):
        def score(self, prompt: TokenIds, suffix: TokenIds, *, kept: bool = True, attempt: int = 0) -> Scored:
            told = super().score(prompt, suffix, kept=kept, attempt=attempt)
            return Scored([*told.log_prob[1:], told.log_prob[0]], told.rank)

        def write(self, *args: Any, **options: Any) -> Written:
            told = super().write(*args, **options)
            return Written(told.text, told.ids, told.ended)

    moved = Moved(of_place)
    with pytest.raises(ModelError, match="shifted by one: those of a text and each of its tokens alone"):
        check_agreement(URL, moved, try_alone(moved, [passage()]), QUIET)


def test_a_beginning_that_changes_nothing_is_not_read() -> None:
    pair = (np.arange(50, dtype=np.int32), np.append([9], np.arange(1, 50)).astype(np.int32))
    suffix = passage().suffix
    for noise, passed in ((QUIET, True), (Noise(9.5, 0, 1, 1), None)):
        read = check_far(URL, Made(lambda before, _: -1.0 - before[0]), pair, suffix, noise)
        assert read is not None
        assert read.passed is passed
    with pytest.raises(ModelError, match="cuts prompts: two of 50 tokens"):
        check_far(URL, Made(of_place), pair, suffix, QUIET)


def test_a_middle_that_changes_nothing_is_not_read() -> None:
    first = np.arange(50, dtype=np.int32)
    prompts = [first, np.append([9], first[1:]).astype(np.int32), np.where(first == 25, 9, first).astype(np.int32)]
    read = check_far(URL, Made(lambda before, _: -1.0 - sum(before)), prompts, passage().suffix, QUIET)
    assert read is not None
    assert read.passed
    with pytest.raises(ModelError, match="two of 50 tokens that differ at token 25 alone"):
        check_far(URL, Made(lambda before, _: -1.0 - before[0]), prompts, passage().suffix, QUIET)


class OfText(Made):
    """Writes one text, wherever it is asked to begin in it."""

    takes_ids = False
    whole = "One by one they came"

    def __init__(self, tidied: Callable[[str], str]) -> None:
        super().__init__(of_place)
        self.tidied = tidied

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        at = len(prompt) - len(passage().prompt)
        return Written(self.tidied(self.whole[at : at + length]), None, False)


@pytest.mark.parametrize(
    ("whole", "tidied", "passed"),
    [
        (OfText.whole, str, True),
        (" " + OfText.whole, str, True),
        (OfText.whole, str.strip, False),
        ("Onebyonetheycame", str.strip, None),
    ],
)
def test_white_space_that_is_taken_away_is_missed(
    whole: str, tidied: Callable[[str], str], passed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OfText, "whole", whole)
    dialect = OfText(tidied)
    told = check_spaces(dialect, [Trial(passage(), [dialect.write(passage().prompt, 16, GREEDY)] * 2)])
    assert (None if told is None else told.passed) is passed
    assert check_spaces(Made(of_place), [trial("One by one")]) is None


def trial(text: str, *values: float) -> Trial:
    return Trial(passage(), [Written(text, None, False)] * 2, [Scored(list(values), [0] * len(values))] * 2)


def test_noise_is_what_differs_from_the_first_answer() -> None:
    alone, company = [trial("a", -1.0, -math.inf)], [trial("b", -1.25, -math.inf)]
    noise = noise_between(alone, company)
    assert noise == Noise(0.25, 2, 3, 6)
    control = check_noise(noise, 4)
    assert control.passed is False
    assert control.detail == (
        "2 of 3 continuations differ; 6 log-probabilities differ by at most 1e0 nats; up to 4 requests at once"
    )
    assert check_noise(Noise(3.5e-6, 0, 9, 72), 4).passed is True


def test_bounds_are_powers_of_ten() -> None:
    assert [bound(value) for value in (0.0, 3.5e-6, 1e-3, 0.2)] == [
        "0 nats", "at most 1e-5 nats", "at most 1e-3 nats", "at most 1e0 nats",
    ]  # fmt: skip


def test_behaviour_hangs_on_no_last_bit() -> None:
    values = [-0.26, -7.0, -7.0, -7.0, -3.5, -7.0, -7.0, -7.0]
    assert behaviour_of([trial("a", *values)], quiet=True) == (-0.3, -3.5)
    assert behaviour_of([trial("a", *(v + 3e-6 for v in values))], quiet=True) == (-0.3, -3.5)
    assert behaviour_of([trial("a", *values)], quiet=False) == ()
    text = [Trial(passage(), [Written(name, None, False)]) for name in "ab"]
    digests = behaviour_of(text, quiet=True)
    assert len(set(digests)) == 2
    assert all(isinstance(digest, str) for digest in digests)


def test_a_model_is_known_again_through_the_noise_of_its_server() -> None:
    values = [-0.26, -7.0, -7.0, -7.0, -3.5, -7.0, -7.0, -7.0]
    marks = marks_of([trial("a", *values)])
    assert marks == [values]
    moved = marks_of([trial("a", *(v - 0.04 for v in values))])
    other = marks_of([trial("a", *(v - 0.4 for v in values))])
    assert are_of_one_model(marks, moved, 0.0)
    assert not are_of_one_model(marks, other, 0.01)
    assert are_of_one_model(marks, other, 0.05)  # a server whose answers move by that much
    assert not are_of_one_model(marks, [values[:-1]], 1.0)
    impossible = marks_of([trial("a", -math.inf, *values[1:])])
    assert impossible[0][0] is None
    assert are_of_one_model(impossible, impossible, 0.0)
    assert not are_of_one_model(impossible, marks, 0.0)
    texts = [
        marks_of([Trial(passage(), [Written(name, None, False) for name in names])]) for names in ("ab", "bc", "cd")
    ]
    assert are_of_one_model(texts[0], texts[1], 0.0)
    assert not are_of_one_model(texts[0], texts[2], 0.0)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"finish_reason": "stop", "logprobs": {"content": [{"id": 0}]}}, "stops and says so, with an entry"),
        ({"finish_reason": "stop", "logprobs": {"tokens": []}}, "stops and says so, without an entry"),
        ({"finish_reason": "stop"}, "stops and says so"),
        ({"finish_reason": "length", "logprobs": {"tokens": ["<eos>"] * 4}}, "goes past it"),
        ({"finish_reason": "length", "logprobs": {"tokens": ["a"] * 4}}, None),
    ],
)
def test_what_happens_at_the_end_token(choice: Mapping[str, Any], words: str | None) -> None:
    witness = Witness(transport(lambda *_: {"choices": [choice]}))
    told = check_end(witness, "m", passage().prompt, 0, "<eos>", [])
    assert (told is None) if words is None else (told is not None and words in told.detail)


def test_an_end_that_comes_by_itself_is_seen() -> None:
    ended = Trial(passage(), [Written("a", None, True)] * 2)
    told = check_end(Witness(transport(nothing)), "m", passage().prompt[:0], 0, "<eos>", [trial("a"), ended])
    assert told is not None
    assert told.passed
    assert check_end(Witness(transport(nothing)), "m", passage().prompt, None, "", [ended]) is None
