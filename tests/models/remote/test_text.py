"""Servers that give text alone: what they are sent, and which answers are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import numpy as np
import pytest

from memaudit.audits.document_scores import readable
from memaudit.errors import ModelError
from memaudit.models.ngram import NgramModel
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.base import WRITES
from memaudit.models.remote.dialects.text import Text
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.probe import Probed
from memaudit.models.remote.seams import as_text, moved
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError, Transport
from memaudit.records import GREEDY, Decoding, TokenIds, Window
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from tests.models.remote.servers import LOOPBACK
from tests.models.remote.speaking import Speaking, speaking
from tests.models.remote.told import Answer, Told, asked, remote_of
from tests.strategies import SAMPLES

KNOWN = " ".join(SAMPLES.values()) + " the cat sat on the mat and the dog lay by the door of the old house"


@cache
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("bpe", [KNOWN] * 2, 330)


@cache
def model() -> NgramModel:
    """A model that recites one text."""
    return NgramModel.train([ids(KNOWN)], tokenizer(), order=6)


def ids(text: str) -> TokenIds:
    return tokenizer().encode_batch([text])[0].ids


def dialect(answer: Answer) -> Text:
    return Text(Told(answer).as_transport(), "m", tokenizer())


def said(text: Any = "text", finish: str | None = "length", **usage: int) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": finish}], "usage": usage}


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Callable[[Speaking], RemoteModel]:
    monkeypatch.setenv(LOOPBACK, "1")

    def reach(server: Speaking) -> RemoteModel:
        transport = Transport(server.address, Endpoint(), print)
        spoken = Text(transport, server.served, tokenizer())
        assert spoken.recognise(np.append(np.int32(0), ids(KNOWN)[:12]), ids(KNOWN)[12:20])
        return RemoteModel(
            transport, Probed(spoken, server.served, None, (), (), {}, [], 0.0, list), tokenizer(), {}, ""
        )

    return reach


@pytest.mark.parametrize("puts_start", [False, True])
def test_every_window_is_verbatim_as_on_this_machine(
    reached: Callable[[Speaking], RemoteModel], puts_start: bool
) -> None:
    whole = ids(KNOWN)
    windows = [Window(whole[at : at + 8], whole[at + 8 : at + 14]) for at in range(0, len(whole) - 14, 3)]
    windows += [Window(w.prefix, np.append(w.suffix[:-2], ids("zq")[:2]).astype(np.int32)) for w in windows[::7]]
    with speaking(model(), "text", puts_start=puts_start) as server:
        remote = reached(server)
        assert cast("Text", remote.dialect).puts_start is puts_start
        assert remote.capabilities == WRITES
        theirs = remote.greedy_continuations(windows)
        remote.transport.close()
    ours = model().greedy_continuations(windows)
    apart = [any(moved(tokenizer(), [window.prefix])) for window in windows]
    for window, mine, yours, other in zip(windows, ours, theirs, apart, strict=True):
        verbatim = np.array_equal(yours, window.suffix)
        assert other or verbatim == np.array_equal(mine, window.suffix)
        assert not verbatim or np.array_equal(mine, window.suffix)
    assert 0 < sum(apart) < 2 * len(windows) / 3
    assert sum(np.array_equal(ids, w.suffix) for ids, w in zip(theirs, windows, strict=True)) > len(windows) / 2
    prompts = [body["prompt"] for path, body in server.asked if body]
    assert any("\ufffd" in tokenizer().decode(window.prefix) for window in windows)
    assert not any("\ufffd" in prompt for prompt in prompts)
    assert any(prompt.startswith("<eos>") for prompt in prompts) is not puts_start


def test_samples_are_drawn_and_each_attempt_is_one(reached: Callable[[Speaking], RemoteModel]) -> None:
    with speaking(model(), "text") as server:
        remote = reached(server)
        prompts = [ids("zz qq")] * 4
        drawn = remote.continuations(prompts, 10, Decoding(1.0, seed=1))
        assert len({each.tobytes() for each in drawn}) > 1
        again = remote.continuations(prompts, 10, Decoding(1.0, seed=1))
        assert all(map(np.array_equal, drawn, again))
        remote.transport.close()


def test_a_server_that_answers_greedily_in_any_case_draws_no_samples() -> None:
    spoken = dialect(lambda body: said("a b c", "length"))
    assert spoken.recognise(ids("the cat"), ids(" sat"))
    assert spoken.write(ids("the cat"), 3, GREEDY).text == "a b c"
    with pytest.raises(ModelError, match="the same whatever temperature"):
        spoken.write(ids("the cat"), 3, Decoding(1.0))


def test_a_whole_configuration_is_sent_to_one_that_samples_by_it_alone() -> None:
    def answer(body: Mapping[str, Any]) -> Any:
        return said(f"{body['seed']}" if "generation_config" in body else "a b", "length")

    spoken = dialect(answer)
    assert spoken.recognise(ids("the cat"), ids(" sat"))
    one, other = (spoken.write(ids("the cat"), 3, Decoding(0.5), seed=1, attempt=i).text for i in (0, 1))
    assert one != other
    assert "generation_config" not in asked(spoken)[0]


def test_a_server_that_does_not_know_the_path_speaks_something_else() -> None:
    def refuse(body: Mapping[str, Any]) -> Any:
        raise RefusedRequestError("no", status=404)

    assert not dialect(refuse).recognise(ids("the cat"), ids(" sat"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "one choice"),
        ({"choices": []}, "one choice"),
        (said(None), "without text"),
        (said(["a"]), "without text"),
        (said("a", "abort", completion_tokens=1), "given up: its finish_reason is abort"),
        (said("a", None), "no finish_reason"),
        (said(prompt_tokens=2), "2 tokens of prompt were read"),
        (said(prompt_tokens=99), "99 tokens of prompt were read"),
        (said(completion_tokens=9), "9 tokens were written, 4 were asked for"),
        (said(completion_tokens=3), "it says that it was cut off"),
    ],
)
def test_answers_to_something_else_are_none(answer: Any, reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        dialect(lambda body: answer).write(ids("the cat sat on"), 4, GREEDY)


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        (said("a", "stop", completion_tokens=2), True),
        (said("a", "eos_token"), True),
        (said("a", "content_filter"), True),
        (said("a", "length", completion_tokens=4), False),
        (said("a", None, completion_tokens=4), False),
        (said("a", None, completion_tokens=3), True),
    ],
)
def test_a_text_has_ended_or_was_cut_off(answer: Any, ended: bool) -> None:
    written = dialect(lambda body: answer).write(ids("the cat sat on"), 4, GREEDY)
    assert (written.text, written.ids, written.ended) == ("a", None, ended)


def test_names_of_special_tokens_may_be_counted_as_these() -> None:
    prompt = ids("a <eos> b")
    for count in (len(prompt), len(ids("a ")) + 1 + len(ids(" b"))):
        assert dialect(lambda body, n=count: said("x", prompt_tokens=n)).write(prompt, 1, GREEDY).text == "x"


def test_greedy_text_is_asked_for_without_what_a_folder_may_add() -> None:
    spoken = dialect(lambda body: said("x"))
    spoken.write(np.append(np.int32(0), ids("the cat")), 3, GREEDY, seed=7)
    [body] = asked(spoken)
    assert body == {"model": "m", "prompt": "<eos>the cat", "max_tokens": 3, "frequency_penalty": 0, "temperature": 0}
    spoken.write(ids("the cat"), 3, Decoding(0.7, top_k=5, top_p=0.9), seed=7)
    body = asked(spoken)[1]
    assert {name: body[name] for name in ("temperature", "top_k", "top_p")} == {
        "temperature": 0.7,
        "top_k": 5,
        "top_p": 0.9,
    }
    assert body["seed"] > 0


def test_more_is_asked_for_where_the_text_has_fewer_tokens_than_were_written() -> None:
    text = " sat on the mat and the dog lay by the door of the old house"

    def answer(body: Mapping[str, Any]) -> Any:
        return said(text[: body["max_tokens"]], "length")  # one character a token

    remote = remote_of(dialect(answer))
    [written] = remote.continuations([ids("the cat")], 6)
    assert len(written) == 6 and text.startswith(tokenizer().decode(written))
    [empty] = remote_of(dialect(lambda body: said("", "length"))).continuations([ids("the cat")], 3)
    assert empty.tolist() == [0, 0, 0]


def test_prompts_that_are_read_otherwise_are_counted() -> None:
    remote = remote_of(dialect(lambda body: said("x")))
    whole = ids(KNOWN)
    clean = [Window(whole[:8], whole[8:12])] * 20
    halves = np.concatenate([ids("th"), ids("e cat")]).astype(np.int32)
    inside = next(Window(whole[i:][:8], whole[:2]) for i in range(80) if as_text(tokenizer(), whole[i:][:8]).cut)
    [control] = remote.check_prompts([*clean, Window(halves, whole[:2]), inside])
    assert control.passed and "of 22 prompts, sent as text, 1 are read" in control.detail
    assert "1 begin or end inside" in control.detail
    assert not remote.check_prompts([Window(halves, whole[:2])])[0].passed
    assert remote.check_prompts([]) == []


def test_what_a_server_has_room_for_can_be_asked() -> None:
    remote = remote_of(dialect(lambda body: said("a b c d e f g h i j k l m n o p")), context=20)
    room = readable(remote)
    assert room == 19
    assert len(remote.greedy_continuations([Window(ids(KNOWN)[: room - 4], ids(KNOWN)[room - 4 : room])])[0]) == 4
    with pytest.raises(ModelError, match="21 tokens, the server reads 20"):
        remote.continuations([ids(KNOWN)[:room]], 1)


def test_texts_are_gone_on_with_as_text() -> None:
    spoken = dialect(lambda body: said(f"<{body['prompt']}>", "stop"))
    remote = remote_of(spoken)
    assert [each.text for each in remote.write_on(["a", "b"], 5)] == ["<<eos>a>", "<<eos>b>"]
    spoken.puts_start = True
    assert remote.write_on(["a"], 5)[0].text == "<a>"
    with pytest.raises(ModelError, match="puts a start token"):
        remote.without_frame()


def test_what_text_alone_does_not_tell_is_refused_in_one_line() -> None:
    spoken, prompt = dialect(lambda _: said()), ids("the cat")
    with pytest.raises(ModelError, match=r"gives no log-probabilities of a given text \(text alone\)"):
        spoken.score(prompt, prompt)
    with pytest.raises(ModelError, match=r"gives no next-token distribution \(text alone\)"):
        spoken.next_log_probs(prompt)
    assert asked(spoken) == []
