"""Works that a model behind an address writes on, where its server takes text alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from memaudit.audits.reconstruction.texts import Work
from memaudit.audits.reconstruction.writer import Begun, LocalWriter, RemoteWriter, Written, writer_of
from memaudit.models.ngram import NgramModel
from memaudit.models.remote.dialects.chat import Chat
from memaudit.models.remote.dialects.text import Text
from memaudit.records import GREEDY, Decoding
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from tests.models.remote.told import Body, Told, asked, remote_of

WORK = " ".join(f"no {i * 7919 % 100_003}" for i in range(150)) + " – naïve façade, 終わり."


@cache
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("bpe", [WORK], 400)


def work() -> Work:
    return Work("work", "work.txt", False, WORK, tokenizer().encode_batch([WORK])[0])


def reciting(body: Body) -> Any:
    """Goes on with the work behind what it is given, as servers cut text: by tokens."""
    given = body["prompt"].removeprefix("<eos>")
    at = WORK.index(given) + len(given)
    ids = tokenizer().encode_batch([WORK[at:]])[0].ids
    text = tokenizer().decode(ids[: body["max_tokens"]])
    ended = len(ids) < body["max_tokens"]
    return {"choices": [{"text": text, "finish_reason": "stop" if ended else "length"}]}


def write_all(writer: RemoteWriter, given: int, piece: int) -> tuple[str, list[Written]]:
    """Let a writer go on until it ends the text."""
    text, pieces = "", list[Written]()
    while not pieces or not pieces[-1].ended:
        assert len(pieces) < 40
        [new] = writer.write(Begun(work(), range(given), text, None), piece, 1)
        text += new.text
        pieces.append(new)
    return text, pieces


def test_a_work_is_written_to_its_end_whatever_the_context() -> None:
    given = 20
    rest = WORK[len(work().cut(range(given))) :]
    for context in (None, 64, 200):
        spoken = Text(Told(reciting).as_transport(), "m", tokenizer())
        writer = writer_of(remote_of(spoken, context), GREEDY)
        assert isinstance(writer, RemoteWriter)
        text, pieces = write_all(writer, given, 50)
        assert text == rest
        assert all(piece.seen is None for piece in pieces)
        assert all(50 <= piece.tokens < 54 for piece in pieces[:-1]) and pieces[-1].tokens <= 54
        for body in asked(spoken):
            sent = len(tokenizer().encode_batch([body["prompt"].removeprefix("<eos>")])[0])
            assert context is None or 1 + sent + body["max_tokens"] <= context


def test_attempts_are_asked_for_with_seeds_of_their_own() -> None:
    def answer(body: Body) -> Any:
        return {"choices": [{"text": f" {body['seed']}", "finish_reason": "stop"}]}

    spoken = Text(Told(answer).as_transport(), "m", tokenizer())
    writer = RemoteWriter(remote_of(spoken), Decoding(1.0, seed=1))
    begun = [Begun(work(), range(20), written, None) for written in ("", " and so on")]
    told = [[row.text for row in writer.write(each, 8, 3)] for each in begun]
    assert len({text for texts in told for text in texts}) == 6
    assert told[0] == [row.text for row in writer.write(begun[0], 8, 3)]


def test_answers_of_a_chat_are_set_apart_by_a_space() -> None:
    def answers(texts: Sequence[str]) -> list[str]:
        told = iter(texts)
        spoken = Chat(
            Told(lambda _: {"choices": [{"message": {"content": next(told)}, "finish_reason": "stop"}]}).as_transport(),
            "m",
            tokenizer(),
        )
        writer = RemoteWriter(remote_of(spoken), GREEDY)
        return [writer.write(Begun(work(), range(20), "and", None), 8, 1)[0].text for _ in texts]

    assert answers(["so on", "\nso on", ""]) == [" so on", "\nso on", ""]


def test_a_model_that_is_given_ids_writes_as_one_of_ours() -> None:
    model = NgramModel.train([work().encoding.ids], tokenizer(), order=3)
    assert isinstance(writer_of(model, GREEDY), LocalWriter)
