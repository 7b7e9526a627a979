"""Servers that are asked by messages: what they are sent, and how answers are compared."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.errors import ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.chat import Chat
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError
from memaudit.models.transformer import new_gpt
from memaudit.records import GREEDY, TokenIds, Turn, Window
from memaudit.text.tokenize import HuggingFaceTokenizer, TrainedTokenizer, train_tokenizer
from tests.gguf_files import write_gguf
from tests.models.remote.servers import LOOPBACK, llama_cpp
from tests.models.remote.told import Answer, Body, Told, asked, remote_of
from tests.text.chat.chat_models import chat_tokenizer

TEXT = "the cat sat on the mat and the dog lay by the door"


@cache
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("bpe", [TEXT] * 3, 300)


def ids(text: str) -> TokenIds:
    return tokenizer().encode_batch([text])[0].ids


def dialect(answer: Answer) -> Chat:
    return Chat(Told(answer).as_transport(), "m", tokenizer())


def said(content: Any = "text", finish: str | None = "length", *, usage: Any = None, **message: Any) -> dict[str, Any]:
    about = {"role": "assistant", "content": content, **message}
    return {"choices": [{"message": about, "finish_reason": finish}], "usage": usage}


def reciting(body: Body) -> Any:
    """Goes on with the one text that it knows, after some words of politeness where it is asked for another."""
    given = body["messages"][-1]["content"].rpartition("\n\n")[2]
    return said(TEXT.partition(given)[2].strip() or "Sure, here is what you asked for", "length")


def window(prefix: str, suffix: str, **more: Any) -> Window:
    return Window(ids(prefix), ids(suffix), prefix_text=prefix, suffix_text=suffix, **more)


def test_a_text_is_sent_behind_the_instruction_and_a_prompt_as_it_is() -> None:
    spoken = dialect(reciting)
    remote = remote_of(spoken)
    remote.greedy_continuations([window("the cat sat", " on the mat")])
    remote.continuations([ids("Which cat?")], 3)
    one, other = ([(m["role"], m["content"]) for m in body["messages"]] for body in asked(spoken))
    assert one == [("user", f"{Chat.instruction}\n\nthe cat sat")]
    assert other == [("user", "Which cat?")]
    assert not any("<eos>" in str(body) for body in asked(spoken))


def test_the_beginning_of_an_answer_is_compared_and_white_space_before_it_is_not() -> None:
    remote = remote_of(dialect(reciting))
    windows = [window("the cat sat", " on the mat"), window("the cat sat", " on the hat"), window("a fox", " ran off")]
    first, second, third = remote.greedy_continuations(windows)
    assert np.array_equal(first, windows[0].suffix)
    assert not np.array_equal(second, windows[1].suffix)
    assert not np.array_equal(third, windows[2].suffix) and len(third) == len(windows[2].suffix)
    polite = remote_of(dialect(lambda body: said("Sure: on the mat and the dog", "length")))
    assert not np.array_equal(polite.greedy_continuations(windows[:1])[0], windows[0].suffix)


def test_a_conversation_is_sent_as_its_messages() -> None:
    spoken = dialect(lambda body: said("on the mat", "stop"))
    turns = (Turn("system", "Be brief."), Turn("user", "Where?"), Turn("assistant", "Where what?"), Turn("user", "It."))
    whole, cut = (window("rendered it all", "on the mat", turns=turns, cut=some) for some in (False, True))
    written = remote_of(spoken).greedy_continuations([whole, cut])
    assert all(np.array_equal(each, whole.suffix) for each in written)
    sent = [[m["content"] for m in body["messages"]] for body in asked(spoken)]
    assert sent[0] == [turn.content for turn in turns]
    assert sent[1][0] == "Be brief." and sent[1][-1] == "It." and len(sent[1]) < 4


def test_conversations_are_audited_by_their_messages(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(40)]
    known = {f"What is {words[i]}, {words[i + 1]}?": " ".join(words[i : i + 12]) for i in range(12)}
    questions = list(known)[:12]
    for name, some in (("train", questions[:6]), ("heldout", questions[6:])):
        turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": f"{name} {known[q]}"}] for q in some]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns))
    spoken = Chat(
        Told(lambda body: said(f"train {known[body['messages'][-1]['content']]}", "stop")).as_transport(),
        "m",
        HuggingFaceTokenizer(chat_tokenizer()),
    )
    report = audit(
        remote_of(spoken),
        *(str(tmp_path / f"{name}.jsonl") for name in ("train", "heldout")),
        out=tmp_path / "run",
        options=AuditOptions(suffix=8, allow_overlap=True, copies=False),
        formats=(),
    ).report
    assert [report["estimates"][0][side]["hits"] for side in ("train", "heldout")] == [6, 0]
    assert {body["messages"][0]["content"] for body in asked(spoken)} == set(questions)
    assert all(len(body["messages"]) == 1 for body in asked(spoken))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "one choice"),
        ({"choices": [{"finish_reason": "stop"}]}, "without a message"),
        (said(None), "without text"),
        (said("", reasoning_content="Let me see"), "thoughts"),
        (said("<think>\nLet me see"), "thoughts"),
        (said("a", usage={"prompt_tokens": 2}), "2 tokens of prompt were read"),
        (said("a", usage={"completion_tokens": 9}), "9 tokens were written"),
    ],
)
def test_answers_to_something_else_are_none(answer: Any, reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        dialect(lambda body: answer).write(ids(TEXT), 4, GREEDY)


def test_a_refusal_is_an_answer() -> None:
    assert dialect(lambda body: said(None, "stop", refusal="I cannot")).write(ids(TEXT), 4, GREEDY).text == "I cannot"


def test_answers_are_limited_by_the_name_that_the_server_knows() -> None:
    def answer(body: Body) -> Any:
        if "max_tokens" in body:
            raise RefusedRequestError("use max_completion_tokens", status=400)
        return said("a b")

    spoken = dialect(answer)
    assert spoken.recognise(ids("the cat"), ids(" sat"))
    assert not spoken.puts_start
    spoken.write(ids("the cat"), 3, GREEDY)
    assert asked(spoken)[-1]["max_completion_tokens"] == 3


def test_a_server_without_the_path_speaks_something_else() -> None:
    def refuse(body: Body) -> Any:
        raise RefusedRequestError("no", status=404)

    assert not dialect(refuse).recognise(ids("the cat"), ids(" sat"))


def test_a_template_begins_every_text() -> None:
    with pytest.raises(ModelError, match="chat template"):
        remote_of(dialect(reciting)).without_frame()


def test_a_work_is_gone_on_with_behind_the_instruction() -> None:
    spoken = dialect(reciting)
    [written] = remote_of(spoken).write_on(["the cat sat"], 4)
    assert written.text.startswith("on the mat")
    assert asked(spoken)[0]["messages"][0]["content"].startswith(Chat.instruction)


def test_a_real_server_answers_by_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOOPBACK, "1")
    new_gpt(tokenizer(), style="llama", width=32, layers=1, heads=2, context_length=1024, seed=1).save(tmp_path / "m")
    write_gguf(tmp_path / "m", tmp_path / "m.gguf")
    with llama_cpp(tmp_path / "m.gguf", context=1024) as address:
        model = load_model(address, endpoint=Endpoint(api="chat", tokenizer=str(tmp_path / "m")))
        assert isinstance(model, RemoteModel) and model.endpoint is not None
        assert (model.endpoint["sends"], model.endpoint["dialect"]) == ("messages", Chat.label)
        assert len(model.endpoint["template_sha256"]) == 64
        [written] = model.continuations([ids("What?")], 5)
        assert len(written) == 5
        model.transport.close()
