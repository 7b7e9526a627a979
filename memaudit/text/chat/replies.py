"""Conversations to token ids as their model reads them, and where each reply stands among these.

The whole conversation is rendered once, as a trainer renders it: what stands before a reply there is its prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Self

import numpy as np

from memaudit.errors import ModelError
from memaudit.records import Document, TokenIds, Turn
from memaudit.text.chat.named import MARKS, NamedTokenizer, is_reserved, special_names
from memaudit.text.chat.rendering import Answer, Messages, Renderer
from memaudit.text.tokenize import Encoding, HuggingFaceTokenizer, Tokenizer

BATCH = 64
"""Conversations rendered together."""
LONGEST = 1 << 22
"""Characters of a conversation that is rendered."""
ASSISTANT = "assistant"
JOIN = "none"
"""Name of no template: prompt and completion follow each other."""
REWRITTEN = "the chat template rewrites the reply"
EMPTY = "an empty reply"
DROPPED = "the tokenizer drops all its characters"


class Reply(NamedTuple):
    """A reply and what stands before it."""

    ids: TokenIds
    """Of the conversation, up to the end of the reply."""
    start: int
    """Index of the first token of the reply."""
    prompt_text: str
    """What the model reads before the reply, special tokens by name."""
    text: str
    """The reply, from the first character that is its own to the end of its last token."""
    ends: TokenIds
    """Characters of ``text`` up to the end of each of its tokens, shape [tokens of the reply]."""
    content: str
    """The reply as it stands in the data."""
    turns: tuple[Turn, ...]
    """What was said before."""


@dataclass(frozen=True, slots=True)
class Read:
    """A conversation as the model reads it."""

    document: Document
    replies: tuple[Reply, ...] = ()
    left_out: tuple[str, ...] = ()
    """Why other replies of it are not read."""
    refused: str = ""
    """Why none of it is: the template makes nothing of it."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What writes conversations for a model."""

    source: str | None
    """Of Jinja's; None: prompt and completion follow each other as they are."""
    origin: str
    """Where it is from, in words."""

    @property
    def sha256(self) -> str | None:
        """Digest of its source."""
        return None if self.source is None else hashlib.sha256(self.source.encode()).hexdigest()


def template_of(tokenizer: Tokenizer) -> ChatTemplate | None:
    """Return the chat template that comes with a model; None if there is none.

    Raises:
        ModelError: It has several, and none is the default.
    """
    found = getattr(tokenizer.tokenizer, "chat_template", None) if isinstance(tokenizer, HuggingFaceTokenizer) else None
    if isinstance(found, dict):
        if "default" not in found:
            names = ", ".join(sorted(map(str, found))[:8])
            raise ModelError(f"the model has several chat templates: {names}", "give the right one: --chat-template")
        found = found["default"]
    return ChatTemplate(found, "the model's own") if isinstance(found, str) and found else None


class ChatReader:
    """Reads conversations as a model does; a context, for a process renders them.

    Args:
        template: That writes them.
        tokenizer: Of the model.
        before: Ids that the model puts before every text by itself.
        name: How messages call the model.
    """

    def __init__(self, template: ChatTemplate, tokenizer: Tokenizer, before: Sequence[int], name: str) -> None:
        self.template, self.name = template, name
        self.tokens = NamedTokenizer(tokenizer)
        self.before = list(before)
        self.begins: bool | None = None
        """Whether the template itself begins with what the model puts before; None where none has written anything."""
        self._values = special_names(tokenizer)
        self._renderer: Renderer | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.template.source is not None:
            renderer = Renderer(self.name, self.template.source, self._values, MARKS)
            self._renderer = self._stack.enter_context(renderer)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def dated(self) -> bool:
        """Whether the template asked what day it is."""
        return self._renderer is not None and self._renderer.dated

    def read(self, documents: Iterable[Document]) -> Iterator[Read]:
        """Yield every conversation with its replies, in order; ModelError if the template cannot be used at all."""
        stream = iter(documents)
        while batch := list(islice(stream, BATCH)):
            answers = self._rendered(batch)
            texts = [_bare(answer.text) for answer in answers if not answer.refused]
            encodings = iter(self.tokens.encode(texts))
            for document, answer in zip(batch, answers, strict=True):
                if answer.refused:
                    yield Read(document, refused=answer.refused)
                else:
                    yield self._read(document, answer, next(encodings))

    def _rendered(self, documents: Sequence[Document]) -> list[Answer]:
        """Return every conversation as its template writes it, special tokens by other names, with marks."""
        unusable = [_unusable(document) for document in documents]
        usable = [document for document, why in zip(documents, unusable, strict=True) if not why]
        if self._renderer is None:
            found = [self._joined(document) for document in usable]
        else:
            asked = _portions([self._messages(document) for document in usable])
            found = [answer for some in asked for answer in self._renderer.render(some)]
        rest = iter(found)
        return [Answer(refused=why) if why else self._named(next(rest)) for why in unusable]

    def _named(self, answer: Answer) -> Answer:
        prompts = answer.prompts and [prompt and self.tokens.named(prompt) for prompt in answer.prompts]
        return answer._replace(text=self.tokens.named(answer.text), prompts=prompts)

    def _messages(self, document: Document) -> Messages:
        return [{"role": turn.role, "content": self._marked(turn)} for turn in document.turns or ()]

    def _marked(self, turn: Turn) -> str:
        """Return what is said, in a reply with marks around all but the white space at its ends."""
        content = self.tokens.hidden(turn.content)
        inside = content.strip()
        if turn.role != ASSISTANT or not inside:
            return content
        at = content.index(inside)
        return f"{content[:at]}{MARKS[0]}{inside}{MARKS[1]}{content[at + len(inside) :]}"

    def _joined(self, document: Document) -> Answer:
        if not document.joined:
            return Answer(refused="it has roles, and there is no chat template to render them")
        return Answer("".join(map(self._marked, document.turns or ())))

    def _read(self, document: Document, answer: Answer, encoding: Encoding) -> Read:
        ids, skipped = self._without_start(encoding.ids)
        if ids is None:
            return Read(document, refused="it does not begin like the others")
        bare = _bare(answer.text)
        turns = document.turns or ()
        said = [place for place, turn in enumerate(turns) if turn.role == ASSISTANT and turn.content.strip()]
        spans = _spans(answer, [self._inside(turns[place]) for place in said])
        blank = sum(turn.role == ASSISTANT for turn in turns) - len(said)
        left_out, replies = [EMPTY] * blank, []
        for place, span in zip(said, spans, strict=True):
            if span is None:
                left_out.append(REWRITTEN)
                continue
            first, last = span
            inside = np.flatnonzero((encoding.ends > first) & (encoding.starts < last))
            if not len(inside):
                left_out.append(DROPPED)
                continue
            begin, end = int(inside[0]), int(inside[-1]) + 1
            readable = self.tokens.readable
            replies.append(
                Reply(
                    ids[: end - skipped],
                    begin - skipped,
                    readable(bare[self._text_start(encoding, skipped) : first]),
                    readable(bare[first : max(last, int(encoding.ends[end - 1]))]),
                    np.maximum(encoding.ends[begin:end] - first, 0),
                    turns[place].content,
                    turns[:place],
                )
            )
        return Read(document, tuple(replies), tuple(left_out))

    def _inside(self, turn: Turn) -> str:
        return self.tokens.named(self.tokens.hidden(turn.content.strip()))

    def _without_start(self, ids: TokenIds) -> tuple[TokenIds | None, int]:
        """Return the ids without those that the model puts before by itself, and their number; None if unlike others.

        What the first conversation begins with decides for all: see `begins`. Texts that are joined without a template
        begin as every other text does.
        """
        if self.template.source is None:
            return ids, 0
        begins = bool(self.before) and ids[: len(self.before)].tolist() == self.before
        if self.begins is None:
            self.begins = begins
        if begins != self.begins:
            return None, 0
        skipped = len(self.before) if begins else 0
        return ids[skipped:], skipped

    @staticmethod
    def _text_start(encoding: Encoding, skipped: int) -> int:
        return int(encoding.ends[skipped - 1]) if skipped else 0


def _unusable(document: Document) -> str:
    """Return why a conversation cannot be rendered whatever the template is; nothing where it can."""
    turns = document.turns or ()
    if sum(len(turn.content) for turn in turns) > LONGEST:
        return f"it has more than {LONGEST:,} characters"
    if any(is_reserved(turn.content) for turn in turns):
        return "it holds letters of Linear A, which stand for special tokens here"
    return ""


def _portions(conversations: Sequence[Messages]) -> Iterator[list[Messages]]:
    """Yield conversations together as long as they are not too long together."""
    portion: list[Messages] = []
    size = 0
    for messages in conversations:
        length = sum(len(message["content"]) for message in messages)
        if portion and size + length > LONGEST:
            yield portion
            portion, size = [], 0
        portion.append(messages)
        size += length
    if portion:
        yield portion


def _bare(text: str) -> str:
    return text.translate(_NO_MARKS)


_NO_MARKS = dict.fromkeys(map(ord, MARKS))


def _spans(answer: Answer, contents: Sequence[str]) -> list[tuple[int, int] | None]:
    """Return where each reply stands in the text without marks; None where it does not stand there whole."""
    if answer.prompts is None:
        pieces = answer.text.replace(MARKS[0], MARKS[1]).split(MARKS[1])
        borders = np.cumsum([len(piece) for piece in pieces])
        return [(int(a), int(b)) for a, b in zip(borders[:-1:2], borders[1::2], strict=False)]
    found: list[tuple[int, int] | None] = []
    for prompt, content in zip(answer.prompts, contents, strict=True):
        start = None if prompt is None or not answer.text.startswith(prompt) else answer.text.find(content, len(prompt))
        between = "" if not start or start < 0 else answer.text[len(prompt or "") : start]
        whole = start is not None and start >= 0 and not between.strip()
        found.append((start, start + len(content)) if whole and start is not None else None)
    return found
