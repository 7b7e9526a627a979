"""Conversations to windows: every reply is asked for with all that stands before it; the conversation is the document.

What is compared between the sides are replies. A system prompt that all conversations share, or a question that many
people ask, makes no overlap; a reply that both sides give, or begin alike as far as it is asked for (thanks, an
apology), tells neither of them from the other and is asked of neither. Nor is one that its own prompt holds: a
quotation, a choice.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import numpy as np

from memaudit.errors import InputError
from memaudit.records import Document, Window
from memaudit.text.chat.replies import ChatReader, Read, Reply
from memaudit.text.tokenize import Tokenizer
from memaudit.text.windows.overlap import OVERLAP_SPAN, OverlapGuard
from memaudit.text.windows.windows import (
    BATCH,
    OVERLAPPING,
    RESERVE,
    SetAside,
    Side,
    WindowOptions,
    WindowSet,
    draw_number,
    match_sides,
    overlap_error,
    require_documents,
)
from memaudit.text.words.normalize import normalize

LEAST = 5
"""Tokens that a reply must have: fewer are given by chance."""
SHORT = f"shorter than {LEAST} tokens"
SHARED = "given on the other side too"
GIVEN = "given in the prompt already"
TOO_LONG = "longer than the model's context"
UNASKED = "nothing precedes it"
UNREAD = "holds text that the tokenizer does not know"
NONE_LEFT = "no reply that can be tested"
UNUSABLE = "the chat template cannot render it"
COPY = "a copy of another document"


@dataclass(frozen=True, slots=True)
class Context:
    """What a model reads."""

    length: int | None
    """Tokens, those that it puts before a text by itself included; None where there is no limit."""
    before: int
    """Tokens that it puts before a text by itself."""


@dataclass(slots=True)
class ReplyWindows:
    """A conversation and the windows of its replies."""

    document: Document
    windows: list[Window]
    replies: list[str]
    """What is said in each, as it stands in the data."""

    def without(self, digests: set[bytes]) -> ReplyWindows:
        """Return it without the windows that have one of these digests."""
        kept = [i for i in range(len(self.windows)) if digests.isdisjoint(self._digests(i))]
        return replace(self, windows=[self.windows[i] for i in kept], replies=[self.replies[i] for i in kept])

    def digests(self) -> set[bytes]:
        """Return the digests of what is asked for and of the replies that it stands in."""
        return {digest for place in range(len(self.windows)) for digest in self._digests(place)}

    def _digests(self, place: int) -> set[bytes]:
        said = {self.replies[place]}
        if self.windows[place].more:
            said.add(self.windows[place].suffix_text)
        return set(map(_digest, said))


@dataclass(slots=True)
class ReplySet:
    """The windows of an audit of conversations, and the account of replies that gave none."""

    drawn: WindowSet
    left_out: list[SetAside] = field(default_factory=list)
    """Replies, of all conversations that were read."""
    cut: int = 0
    """Windows whose prompt was cut from the left, for it is longer than the model reads."""


def draw_replies(
    train: Iterable[Document],
    heldout: Iterable[Document],
    reader: ChatReader,
    tokenizer: Tokenizer,
    options: WindowOptions,
    context: Context,
    *,
    skip_bad: bool = False,
) -> ReplySet:
    """Draw conversations of both sides with the same shares of every domain and length of replies.

    Args:
        train: Conversations that the model was trained on.
        heldout: Conversations that it never saw.
        reader: Writes them as the model reads them.
        tokenizer: Of the model; replies are compared in its tokens.
        options: ``suffix`` is the most tokens of a reply that are asked for; ``prefix`` is not looked at.
        context: What the model reads.
        skip_bad: Whether conversations that the template does not write are counted instead of refused.

    Raises:
        InputError: A side has no reply long enough, a document is no conversation, the template makes nothing of one,
            or replies of both sides overlap (unless ``allow_overlap``: then the held-out ones are set aside).
        ModelError: The template cannot be used.
    """
    cutter = _Cutter(reader, options, context, tokenizer.unknown_id, skip_bad)
    theirs = _Collected("heldout", options)
    for candidate in cutter.candidates(heldout, theirs):
        theirs.digests |= candidate.digests()
        theirs.keep(candidate)
    kept = [candidate for heap in theirs.side.kept.values() for _, _, candidate in heap]
    guard = OverlapGuard(_as_documents(kept), tokenizer, OVERLAP_SPAN)
    ours = _Collected("train", options)
    for candidate in _guarded(cutter.candidates(train, ours), guard, tokenizer):
        ours.digests |= candidate.digests() & theirs.digests
        ours.keep(candidate.without(theirs.digests), before=candidate)
    overlaps = sorted(guard.overlaps.values(), key=lambda o: (o.heldout, o.train))
    if overlaps and not options.allow_overlap:
        raise overlap_error(overlaps, f"the replies of {len(kept)} held-out conversations", OVERLAP_SPAN)
    theirs.side.remove(guard.overlaps, OVERLAPPING)
    theirs.leave_out(ours.digests)
    for side in (ours, theirs):
        require_documents(side.side, f"a reply of at least {LEAST} tokens", side.said())
    drawn = match_sides(ours.side, theirs.side, overlaps, options, partial(_drawn_of, options.seed))
    cut = sum(window.cut for window in drawn.windows)
    return ReplySet(drawn, [*ours.account(), *theirs.account()], cut)


def _drawn_of(seed: int, candidate: ReplyWindows, most: int, member: bool) -> list[Window]:
    """Return at most ``most`` windows of a conversation, in order, drawn by the seed."""
    number = draw_number(seed, "place", candidate.document.id)
    chosen = np.sort(np.random.default_rng(number).permutation(len(candidate.windows))[:most])
    return [replace(candidate.windows[int(place)], member=member) for place in chosen]


class _Collected:
    """One side: the conversations that may be drawn, and why others and single replies are not."""

    def __init__(self, name: str, options: WindowOptions) -> None:
        self.name, self.options = name, options
        self.side: Side[ReplyWindows] = Side(name)
        self.left_out: Counter[str] = Counter()
        self.digests: set[bytes] = set()
        """Digests of what is asked for and of whole replies; of training text, of those that held-out text has too."""
        self._seen: set[bytes] = set()

    def keep(self, candidate: ReplyWindows, before: ReplyWindows | None = None) -> None:
        """Count a conversation, and keep it if it may be drawn; ``before`` is with the replies that both sides give."""
        self.left_out[SHARED] += 0 if before is None else len(before.windows) - len(candidate.windows)
        document = candidate.document
        digest = hashlib.blake2b(document.text.encode("utf-8"), digest_size=16).digest()
        if not candidate.windows:
            self.side.reasons[NONE_LEFT] += 1
        elif digest in self._seen:  # the same text twice is no second observation
            self.side.reasons[COPY] += 1
        else:
            self._seen.add(digest)
            mean = sum(len(window.suffix) for window in candidate.windows) // len(candidate.windows)
            stratum = (document.domain, mean.bit_length())
            number = draw_number(self.options.seed, "draw", document.id)
            self.side.keep(stratum, number, candidate, self.options.limit * RESERVE)

    def leave_out(self, digests: set[bytes]) -> None:
        """Leave replies out that the other side gives too, and conversations that have no other."""
        empty = set()
        for heap in self.side.kept.values():
            for place, (draw, source, candidate) in enumerate(heap):
                heap[place] = draw, source, candidate.without(digests)
                self.left_out[SHARED] += len(candidate.windows) - len(heap[place][2].windows)
                if not heap[place][2].windows:
                    empty.add(candidate.document.id)
        self.side.remove(empty, NONE_LEFT)

    def account(self) -> list[SetAside]:
        """Return why replies of this side gave no window."""
        return [SetAside(self.name, reason, count) for reason, count in sorted(self.left_out.items()) if count]

    def said(self) -> str:
        """Return the account in words."""
        told = [f"{e.count:,} {'reply' if e.count == 1 else 'replies'} not tested: {e.reason}" for e in self.account()]
        return "; ".join(told) or "no reply at all"


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts the windows of conversations."""

    reader: ChatReader
    options: WindowOptions
    context: Context
    unknown: int | None
    skip_bad: bool

    def candidates(self, documents: Iterable[Document], side: _Collected) -> Iterator[ReplyWindows]:
        """Yield the conversations that the template writes, with the windows of their replies."""
        for read in self.reader.read(_only_conversations(documents)):
            if read.refused:
                self._refuse(read)
                side.side.reasons[f"{UNUSABLE}: {read.refused}"] += 1
                continue
            for reason in read.left_out:
                side.left_out[reason] += 1
            found = ReplyWindows(read.document, [], [])
            for reply in read.replies:
                window = self._window(read.document, reply)
                if isinstance(window, str):
                    side.left_out[window] += 1
                else:
                    found.windows.append(window)
                    found.replies.append(reply.content)
            yield found

    def _refuse(self, read: Read) -> None:
        if not self.skip_bad:
            raise InputError(
                f"{read.document.source}: the chat template cannot render it: {read.refused}",
                "correct the record or leave it out; --skip-bad counts such records",
            )

    def _window(self, document: Document, reply: Reply) -> Window | str:
        """Return the window of a reply, or why it has none."""
        whole = len(reply.ids) - reply.start
        length = min(self.options.suffix, whole)
        prefix, suffix = reply.ids[: reply.start], reply.ids[reply.start : reply.start + length]
        if length < min(LEAST, self.options.suffix):
            return SHORT
        if self.unknown is not None and bool((suffix == self.unknown).any()):
            return UNREAD
        room = len(prefix)
        if self.context.length is not None:
            room = min(room, self.context.length - self.context.before - length)
        if room < 0 or (not room and len(prefix)):
            return TOO_LONG
        if not room and not self.context.before:
            return UNASKED
        text = reply.prompt_text
        if room < len(prefix):
            prefix = prefix[len(prefix) - room :]
            text = self.reader.tokens.decode(prefix)
        asked = reply.text[: int(reply.ends[length - 1])]
        if length >= LEAST and asked in text:  # who copies it from there need not know it
            return GIVEN
        return Window(
            prefix=prefix,
            suffix=suffix,
            document=document.id,
            source=document.source,
            start=reply.start,
            domain=document.domain,
            copies=document.copies,
            prefix_text=text,
            suffix_text=asked,
            turns=reply.turns,
            more=whole > length,
            cut=room < reply.start,
        )


def _only_conversations(documents: Iterable[Document]) -> Iterator[Document]:
    for document in documents:
        if document.turns is None:
            raise InputError(
                f"{document.source}: a text among conversations",
                "audit texts and conversations apart, each with its own",
            )
        yield document


def _guarded(candidates: Iterable[ReplyWindows], guard: OverlapGuard, tokenizer: Tokenizer) -> Iterator[ReplyWindows]:
    """Yield training conversations, once their replies are compared with those of held-out ones."""
    stream = iter(candidates)
    while batch := list(islice(stream, BATCH)):
        replies = _as_documents(batch)
        guard.check(replies, [encoding.ids for encoding in tokenizer.encode_batch([reply.text for reply in replies])])
        yield from batch


def _as_documents(candidates: Sequence[ReplyWindows]) -> list[Document]:
    """Return every reply as a text of its own."""
    return [replace(c.document, text=said, turns=None) for c in candidates for said in c.replies]


def _digest(said: str) -> bytes:
    """Return what replies are the same by: their normalised words."""
    return hashlib.blake2b(normalize(said).encode("utf-8", "surrogatepass"), digest_size=12).digest()
