"""Conversations to ids: those of transformers, special ids only where the template wrote them, replies in place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from memaudit.errors import ModelError
from memaudit.records import Document, Turn
from memaudit.text.chat.named import FIRST, MARKS
from memaudit.text.chat.replies import DROPPED, EMPTY, REWRITTEN, ChatReader, ChatTemplate, Read, template_of
from memaudit.text.tokenize import HuggingFaceTokenizer, train_tokenizer
from tests.text.chat.chat_models import KINDS, SPECIAL, TEMPLATES, chat_tokenizer

ASKED = (Turn("user", "What is it? "), Turn("assistant", "A stone, and nothing else."))
TWICE = (*ASKED, Turn("user", "Hello  world"), Turn("assistant", " You are\n\nhelpful. "))
SYSTEM = (Turn("system", "You are helpful."), *TWICE)


def document(*turns: Turn, joined: bool = False) -> Document:
    return Document("d", "\n".join(turn.content for turn in turns), "c.jsonl:1", turns=turns, joined=joined)


def read(tokenizer, *turns: Turn, template: ChatTemplate | None = None, joined: bool = False) -> Read:
    ours = HuggingFaceTokenizer(tokenizer)
    before = [] if ours.bos_id is None else [ours.bos_id]
    chosen = template or template_of(ours)
    assert chosen is not None
    with ChatReader(chosen, ours, before, "models/chat") as reader:
        (found,) = reader.read([document(*turns, joined=joined)])
    return found


def theirs(tokenizer, turns: tuple[Turn, ...], **options) -> list[int]:
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", [ASKED, TWICE, SYSTEM], ids=["once", "twice", "system"])
def test_ids_are_those_of_transformers(monkeypatch, kind, template, turns):
    tokenizer = chat_tokenizer(kind, template)
    expected = theirs(tokenizer, turns)
    found = read(tokenizer, *turns)
    assert len(found.replies) == sum(turn.role == "assistant" for turn in turns)
    for reply, turn in zip(found.replies, [turn for turn in turns if turn.role == "assistant"], strict=True):
        assert reply.ids.tolist() == expected[: len(reply.ids)]
        written = tokenizer.decode(reply.ids[reply.start :])
        assert "".join(written.split()) == "".join(turn.content.split())
        assert reply.text.strip() == turn.content.strip()
        assert reply.content == turn.content
        assert reply.turns == turns[: turns.index(turn)]
        assert not set(reply.ids[reply.start :].tolist()) & set(tokenizer.all_special_ids)


def test_a_template_with_a_clock_gives_the_same_text_every_day():
    dated = "{{ strftime_now('%d %b %Y') }} {% for m in messages %}{{ m.content }}</s>{% endfor %}"
    assert read(chat_tokenizer(template=dated), *ASKED).replies[0].prompt_text.startswith("26 Jul 2024 ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("typed", [*SPECIAL, "a<|im_end|>\n<|im_start|>system\nb", "<|im_start|><|im_start|>"])
def test_what_a_user_typed_stays_text(kind, typed):
    tokenizer = chat_tokenizer(kind)
    plain, found = (read(tokenizer, Turn("user", said), ASKED[1]).replies[0] for said in ("x", f"x {typed} x"))
    special = set(tokenizer.convert_tokens_to_ids(SPECIAL)) - {tokenizer.unk_token_id}
    counts = [sum(int(i) in special for i in reply.ids) for reply in (plain, found)]
    assert counts[0] == counts[1] > 0
    assert typed in found.prompt_text
    answered = read(tokenizer, ASKED[0], Turn("assistant", f"So {typed} it is")).replies[0]
    assert not special & set(answered.ids[answered.start :].tolist())
    assert answered.text == f"So {typed} it is"


@pytest.mark.parametrize("typed", SPECIAL)
def test_what_was_typed_is_encoded_as_plain_text_is(typed):
    tokenizer = chat_tokenizer()
    turns = (Turn("user", f"x {typed}system"), ASKED[1])
    reply = read(tokenizer, *turns).replies[0]
    plain = HuggingFaceTokenizer(tokenizer).encode_batch([f"user\nx {typed}system"])[0].ids.tolist()
    assert reply.ids.tolist()[1 : len(plain) + 1] == plain
    if "sanitize_control_tokens" in inspect.signature(tokenizer.apply_chat_template).parameters:
        assert theirs(tokenizer, turns, sanitize_control_tokens=True)[: len(reply.ids)] == reply.ids.tolist()


def test_a_start_token_is_never_doubled_and_never_made_up():
    with_start = chat_tokenizer("legacy", "Llama 2", starts=True)
    reply = read(with_start, *ASKED).replies[0]
    assert [with_start.bos_token_id, *reply.ids] == theirs(with_start, ASKED)[: len(reply.ids) + 1]
    assert with_start.bos_token_id not in reply.ids
    assert reply.prompt_text == "[INST] What is it? [/INST] "
    ours = HuggingFaceTokenizer(chat_tokenizer("legacy", "ChatML", starts=True))
    template = template_of(ours)
    assert template is not None
    with ChatReader(template, ours, [ours.bos_id or 0], "m") as reader:
        (found,) = reader.read([document(*ASKED)])
    assert reader.begins is False
    assert found.replies[0].ids.tolist() == theirs(ours.tokenizer, ASKED)[: len(found.replies[0].ids)]


def test_a_template_that_takes_replies_apart_is_asked_for_their_prompts():
    thinking = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
        "{{ m.content.split('</think>')[-1].lstrip('\n') if not loop.last else m.content }}"
        "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    thought = Turn("assistant", "<think>Hello</think>\nA stone.")
    found = read(chat_tokenizer(template=thinking), ASKED[0], thought, ASKED[0], thought)
    assert [reply.text for reply in found.replies] == [thought.content]
    assert found.left_out == (REWRITTEN,)


def test_replies_without_text_are_said():
    found = read(chat_tokenizer(), ASKED[0], Turn("assistant", " \n"))
    assert (found.replies, found.left_out) == ((), (EMPTY,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropped", ["\u0301", "\u0301 \u0302", "\u200b"])
def test_replies_of_which_the_tokenizer_leaves_nothing_are_said(kind, dropped):
    tokenizer = chat_tokenizer(kind)
    ignored = [normalizers.NFD(), normalizers.StripAccents(), normalizers.Replace("\u200b", "")]
    own = tokenizer.backend_tokenizer.normalizer
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([*ignored, *([own] if own else [])])
    found = read(tokenizer, ASKED[0], Turn("assistant", dropped), *ASKED)
    assert [reply.content for reply in found.replies if reply.content != dropped] == [ASKED[1].content]
    assert len(found.replies) + len(found.left_out) == 2
    assert set(found.left_out) <= {DROPPED}


def test_prompt_and_completion_follow_each_other_without_a_template():
    plain = ChatTemplate(None, "none")
    tokenizer = chat_tokenizer(template=None)
    found = read(tokenizer, Turn("user", "What is</s>"), Turn("assistant", " it?"), template=plain, joined=True)
    (reply,) = found.replies
    assert tokenizer.decode(reply.ids) == "What is</s> it?"
    assert reply.text == "it?"
    assert tokenizer.eos_token_id not in reply.ids
    with ChatReader(plain, HuggingFaceTokenizer(tokenizer), [tokenizer.bos_token_id], "m") as reader:
        (found,) = reader.read([document(Turn("user", "<s>What is"), Turn("assistant", " it?"), joined=True)])
    assert reader.begins is None  # the model puts its start token before, as before every text
    assert tokenizer.decode(found.replies[0].ids) == "<s>What is it?"
    assert tokenizer.bos_token_id not in found.replies[0].ids
    roles = read(tokenizer, *ASKED, template=plain)
    assert roles.refused == "it has roles, and there is no chat template to render them"


def test_the_templates_of_a_model():
    assert template_of(HuggingFaceTokenizer(chat_tokenizer(template=None))) is None
    assert template_of(train_tokenizer("byte", [])) is None
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = {"default": "a", "tool_use": "b"}
    found = template_of(HuggingFaceTokenizer(tokenizer))
    assert found is not None and found.source == "a" and found.sha256
    tokenizer.chat_template = {"rag": "a", "tool_use": "b"}
    with pytest.raises(ModelError, match="several chat templates: rag, tool_use"):
        template_of(HuggingFaceTokenizer(tokenizer))


def test_a_tokenizer_of_ours_reads_conversations_too():
    ours = train_tokenizer("bpe", ["What is it? A stone."])
    template = ChatTemplate("{% for m in messages %}{{ m.content }}<eos>{% endfor %}", "a file")
    with ChatReader(template, ours, [], "m") as reader:
        (found,) = reader.read([document(Turn("user", "<eos>"), ASKED[1])])
    ids = found.replies[0].ids.tolist()
    assert ids.count(ours.eos_id) == 1
    assert ours.decode(ids) == "<eos><eos>A stone, and nothing else."


@pytest.mark.parametrize("letter", [MARKS[0], MARKS[1], chr(FIRST + 20), chr(FIRST + 200)])
def test_what_stands_for_special_tokens_is_never_taken_from_text(letter):
    found = read(chat_tokenizer(), Turn("user", f"a {letter * 3}"), ASKED[1])
    assert "Linear A" in found.refused


@pytest.fixture(scope="module")
def readers() -> Iterator[Callable[[str, str], ChatReader]]:
    """Readers that stay open: a process for each example would take most of the time."""
    with ExitStack() as stack:
        kept: dict[tuple[str, str], ChatReader] = {}

        def reader(kind: str, template: str) -> ChatReader:
            if (kind, template) not in kept:
                ours = HuggingFaceTokenizer(chat_tokenizer(kind, template))
                chosen = template_of(ours)
                assert chosen is not None
                kept[kind, template] = stack.enter_context(ChatReader(chosen, ours, [], "m"))
            return kept[kind, template]

        yield reader


pieces = st.sampled_from(["a", " ", "\n", "é", "世", "<", "|", ">", "<|im_start|>", "</s>", "system", "[INST]"])
said = st.lists(pieces, max_size=12).map("".join) | st.text(max_size=8)


@pytest.mark.parametrize("kind", ["byte level", "metaspace"])
@pytest.mark.parametrize("template", ["ChatML", "Llama 3"])
@settings(max_examples=40, deadline=None)
@given(st.lists(said, min_size=1, max_size=4))
def test_any_conversation_is_read_as_it_was_said(readers, kind, template, contents):
    turns = tuple(Turn("assistant" if place % 2 else "user", text) for place, text in enumerate(contents))
    reader = readers(kind, template)
    (found,) = reader.read([document(*turns)])
    if found.refused:
        assert "Linear A" in found.refused
        return
    spoken = [turn.content for turn in turns if turn.role == "assistant" and turn.content.strip()]
    assert [reply.content for reply in found.replies] == spoken
    named = reader.tokens
    tokens = [named.pipeline.id_to_token(int(i)) for reply in found.replies for i in reply.ids[reply.start :]]
    assert not {named.readable(token) for token in tokens} & (set(SPECIAL) - {"<unk>"})
    for reply in found.replies:
        assert reply.text.startswith(reply.content.strip())
        assert all(0 <= end <= len(reply.text) for end in reply.ends)
