"""Whether a server reads the prompts that it is sent: by the tokens that it counts in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memaudit.errors import ModelError, one_line
from memaudit.findings import Control
from memaudit.models.remote.probing.texts import PLAIN, SCRIPTS, long_ids, prompt_of, prompts_of
from memaudit.models.remote.probing.witness import SAME, Witness
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError
from memaudit.records import TokenIds
from memaudit.text.tokenize import Tokenizer

LENGTHS = (8, 24, 60)
LONG = 240
"""Tokens of the longest prompt that is counted."""
TOKENIZATION, START, WHOLE, BEYOND = (
    "the server's tokenization is that of --tokenizer",
    "one start token before every text",
    "prompts are read whole and as they are",
    "prompts beyond the context are refused",
)
"""Names of controls."""
MOST_BEYOND = 131_072
"""Largest context that is probed for what lies beyond it: a longer prompt costs more than it tells."""
SHARE = 4
"""A prompt beyond the context is sent where it takes at most this part of the budget."""
NAME_IT = "name the tokenizer of the model that is served"
NO_COUNT = "the server does not count the tokens of a prompt"


@dataclass(frozen=True, slots=True)
class Counted:
    """One prompt, the tokens that were sent and those that were counted."""

    sent: int
    counted: int
    begun: bool
    """Whether a start token was sent."""

    @property
    def more(self) -> int:
        """Tokens that were counted beyond those that were sent."""
        return self.counted - self.sent


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of how prompts are read."""

    takes_ids: bool
    puts_start: bool
    """Whether the server puts a start token before a prompt that has none."""
    start: str
    """What stands before every text, in words."""
    controls: tuple[Control, ...]


class Counter:
    """Asks for as little as a server lets be asked for, and looks at the tokens it counts.

    Args:
        witness: To the server.
        served: Name of the model.
        tokenizer: Of the model.
        context: Tokens that the model reads, as far as that is known.
    """

    def __init__(self, witness: Witness, served: str, tokenizer: Tokenizer, context: int | None) -> None:
        self.witness, self.served, self.tokenizer, self.context = witness, served, tokenizer, context
        self.url, self.bos = witness.url, tokenizer.bos_id
        self.silent = False
        """Whether it was found to count nothing."""
        self.room = (context or LONG + 16) - 8
        """Tokens of text that a prompt of a probe has at most."""

    def begun(self, ids: TokenIds) -> TokenIds:
        """Return a prompt with the start token before it, where there is one."""
        return ids if self.bos is None else np.concatenate([[self.bos], ids]).astype(np.int32)

    def count(self, prompt: list[int] | str, tokens: int) -> int | None:
        """Return the tokens that are counted in a prompt, None where nothing is counted.

        Raises:
            RefusedRequestError: The server takes no prompt like that.
        """
        body: dict[str, Any] = {"model": self.served, "prompt": prompt, "max_tokens": 1, "temperature": 0.0}
        for _ in range(1 if self.silent else SAME):
            counted: int | None = self.witness.ask("/completions", body, _count_of, tokens=tokens + 1)
            if counted is not None:
                return counted
        self.silent = True
        return None

    def read(self) -> Reading:
        """Find out whether prompts are taken as ids and whether they are read as they are sent.

        Raises:
            ModelError: They are not.
        """
        plain = [ids for ids in prompts_of(self.tokenizer, PLAIN, [min(n, self.room) for n in LENGTHS]) if len(ids)]
        if not plain:
            raise ModelError(
                f"{self.url}: no passage of the probe can be encoded", "is --tokenizer that of a text model?"
            )
        asked = [(self.begun(ids), True) for ids in (*plain[:3], long_ids(self.tokenizer, min(LONG, self.room)))]
        asked += [(plain[0], False)] if self.bos is not None else []
        try:
            first = self.count(asked[0][0].tolist(), len(asked[0][0]))
        except RefusedRequestError:
            return self._by_text()
        if first is None:
            controls = (self._of_texts(), Control(START, None, NO_COUNT), Control(WHOLE, None, NO_COUNT))
            return Reading(True, False, _start_in_words(self.bos, by_server=False), controls)
        counts = [Counted(len(asked[0][0]), first, begun=True)]
        for ids, begun in asked[1:]:
            try:
                count = self.count(ids.tolist(), len(ids))
            except RefusedRequestError:
                count = None  # longer with what is put around it than what the server reads
            counts += [] if count is None else [Counted(len(ids), count, begun)]
        return self._by_ids(counts)

    def _by_ids(self, counts: Sequence[Counted]) -> Reading:
        whole = [c for c in counts if c.begun]
        bare = [c for c in counts if not c.begun]
        refuse_otherwise(self.url, whole, bare)
        by_server = bool(bare) and bare[0].more == 1
        if bare and bare[0].more not in (0, 1):
            refuse_otherwise(self.url, bare, [])
        figures = ", ".join(f"{c.counted:,}" for c in counts)
        sent = ", ".join(f"{c.sent:,}" for c in counts)
        start = "the ids that are sent are counted, the start token once"
        if by_server:
            start += "; a prompt without one is given one by the server"
        if self.bos is None:
            start = "the tokenizer puts none, and none is counted"
        controls = (
            self._of_texts(),
            Control(START, True, start),
            Control(WHOLE, True, f"prompts of {sent} tokens are counted as {figures}"),
        )
        return Reading(True, by_server, _start_in_words(self.bos, by_server=False), controls)

    def _of_texts(self) -> Control:
        """Compare the tokens of texts where prompts are sent as ids: they say whose tokenizer the server has."""
        texts = self._texts()
        cut = [self.tokenized(texts[0][0])]
        if cut[0] is not None:
            cut += [self.tokenized(text) for text, _ in texts[1:]]
        shown = [ids for ids in cut if ids is not None]
        if len(shown) == len(texts):
            return self._of_shown(texts, shown)
        try:
            counted = [self.count(text, len(ids)) for text, ids in texts]
        except RefusedRequestError:
            return Control(TOKENIZATION, None, "the server takes ids alone, and shows no tokens of a text")
        more = [count - len(ids) for count, (_, ids) in zip(counted, texts, strict=True) if count is not None]
        if len(more) < len(texts):
            return Control(TOKENIZATION, None, NO_COUNT)
        usual = max(set(more), key=more.count)
        same, of = more.count(usual), len(texts)
        if 2 * same < of:
            raise ModelError(
                f"{self.url}: cuts text into other tokens than --tokenizer does, {of - same} of {of} texts", NAME_IT
            )
        detail = f"the server counts as many tokens as we do in {same} of {of} texts in several scripts"
        return Control(TOKENIZATION, same == of, f"{detail}; prompts are sent as ids")

    def _of_shown(self, texts: Sequence[tuple[str, TokenIds]], shown: Sequence[list[int]]) -> Control:
        """Judge by the ids that a server makes of texts: cut elsewhere, they stand for the same text still."""
        size, of = self.tokenizer.vocab_size, len(texts)
        same = sum(ids == list(ours) for ids, (_, ours) in zip(shown, texts, strict=True))
        for ids, (text, _) in zip(shown, texts, strict=True):
            if max(ids, default=0) >= size or self.tokenizer.decode(ids).strip() != text.strip():
                raise ModelError(
                    f"{self.url}: its ids stand for other text than those of --tokenizer, of '{one_line(text, 40)}'",
                    NAME_IT,
                )
        detail = f"the server cuts {same} of {of} texts in several scripts into the same ids; prompts are sent as ids"
        return Control(TOKENIZATION, True, detail)

    def tokenized(self, text: str) -> list[int] | None:
        """Return the ids that a server's own tokenizer makes of a text, where it has a door for that."""
        body = {
            "model": self.served, "content": text, "prompt": text,
            "add_special": False, "add_special_tokens": False,
        }  # fmt: skip
        for _ in range(SAME):
            try:
                ids: list[int] | None = self.witness.ask("^/tokenize", body, _ids_of, tokens=0)
            except ModelError:
                return None
            if ids is not None:
                return ids[1:] if ids[:1] == [self.bos] else ids
        return None

    def _texts(self) -> list[tuple[str, TokenIds]]:
        """Return texts that are encoded as what they were decoded from, with their ids."""
        lengths = [min(24, self.room)]
        ids = prompts_of(self.tokenizer, (*SCRIPTS, PLAIN[0]), lengths)
        return [(self.tokenizer.decode(one), one) for one in ids]

    def _by_text(self) -> Reading:
        """Find out how prompts that are text are read."""
        texts = self._texts()
        bare = self._counts(texts, "")
        if bare is None:
            start = "unknown: the server does not count the tokens of a prompt"
            # Text that the model is known to recite shows instead that it is read: `Endpoint.recital`.
            names = () if self.witness.endpoint.recital else (TOKENIZATION, START, WHOLE)
            return Reading(False, False, start, tuple(Control(name, None, NO_COUNT) for name in names))
        first = min(c.more for c in bare)
        others = [text for (text, _), c in zip(texts, bare, strict=True) if c.more != first]
        if others and len({c.more for c in bare}) > 1:
            self._refuse_text(texts, bare, first)
        puts = first == 1 and self.bos is not None
        if first and not puts:
            refuse_otherwise(self.url, bare, [])
        start = self._start_of_text(texts, puts=puts)
        longest = self._longest()
        counted = self.count(*longest)
        if counted is not None:
            refuse_otherwise(self.url, [Counted(longest[1] + puts, counted, begun=True)], [])
        sizes = f"{min(c.sent for c in bare)} to {longest[1]:,}"
        controls = (
            Control(
                TOKENIZATION, True, f"the server counts as many tokens as we do in {len(bare)} texts, several scripts"
            ),
            Control(START, True, start),
            Control(WHOLE, True, f"prompts of {sizes} tokens are counted as such"),
        )
        return Reading(False, puts, start, controls)

    def _longest(self) -> tuple[str, int]:
        whole = " ".join(PLAIN)
        ids = prompt_of(self.tokenizer, whole, min(LONG, self.room))
        ids = self.tokenizer.encode_batch([PLAIN[0]])[0].ids[: self.room] if ids is None else ids
        return self.tokenizer.decode(ids), len(ids)

    def _counts(self, texts: Sequence[tuple[str, TokenIds]], before: str) -> list[Counted] | None:
        counts = []
        for text, ids in texts:
            count = self.count(before + text, len(ids) + 1)
            if count is None:
                return None
            counts.append(Counted(len(ids), count, bool(before)))
        return counts

    def _refuse_text(self, texts: Sequence[tuple[str, TokenIds]], counts: Sequence[Counted], usual: int) -> None:
        short = [c for c in counts if c.more < 0]
        if short and len({c.counted for c in short}) == 1:
            refuse_otherwise(self.url, short, [])
        text, one = next((t, c) for (t, _), c in zip(texts, counts, strict=True) if c.more != usual)
        raise ModelError(
            f"{self.url}: cuts text into other tokens than --tokenizer does: {one.counted} where that has {one.sent}, "
            f"of '{one_line(text, 40)}'",
            NAME_IT,
        )

    def _start_of_text(self, texts: Sequence[tuple[str, TokenIds]], *, puts: bool) -> str:
        """Return what stands before a text, in words."""
        if self.bos is None:
            return "nothing: the tokenizer has no start token, and the server puts none"
        name = self.tokenizer.decode([self.bos])
        if puts:
            return f"{name}, put by the server; one token more than those of the text is counted"
        counts = self._counts(texts[:2], name) or []
        if any(c.more != 1 for c in counts):
            more = [c.more for c in counts]
            raise ModelError(
                f"{self.url}: the start token is missing: the server puts none, and '{name}' written before a text "
                f"counts {more[0]} tokens more, not one",
                "let the server put it, or serve the model by an engine that takes token ids",
            )
        return f"{name}, written before the text, which counts one token more"


def refuse_otherwise(url: str, whole: Sequence[Counted], bare: Sequence[Counted]) -> None:
    """Refuse a server that counts other tokens than were sent, by the reason.

    Args:
        url: For the error.
        whole: Prompts with their start token, or all where there is none.
        bare: Prompts without.
    """
    more = [c.more for c in whole]
    if not any(more):
        return
    shown = f"{whole[-1].sent:,} tokens were sent and {whole[-1].counted:,} are counted"
    if min(more) < 0 and (len(set(more)) > 1 or min(more) < -1):
        one = max(whole, key=lambda c: c.sent - c.counted)
        raise ModelError(
            f"{url}: cuts prompts: {one.sent:,} tokens were sent and {one.counted:,} are counted",
            "start the server with a larger context",
        )
    if set(more) == {-1}:
        dropped = "a start token that is sent is taken away" if bare and not bare[0].more else "one token is taken away"
        raise ModelError(
            f"{url}: the start token is missing: {shown}; {dropped}", "serve the model as it is, without a gateway"
        )
    if set(more) == {1}:
        raise ModelError(
            f"{url}: puts a start token of its own before every prompt: {shown}",
            "start the server so that it puts none before a prompt that has one",
        )
    if set(more) == {2}:
        raise ModelError(
            f"{url}: puts two tokens of its own around every prompt, as where a start token is doubled: {shown}",
            "start the server so that it puts one start token at most",
        )
    raise ModelError(
        f"{url}: wraps every prompt in {max(more):,} tokens more, as a chat template does: {shown}",
        "switch the template of /completions off, or use --api chat",
    )


def check_beyond(counter: Counter, *, takes_ids: bool) -> Control | None:
    """Check that a prompt of more tokens than the context is refused.

    Returns:
        None where the server does not say how long its context is.

    Raises:
        ModelError: It is cut.
    """
    context, budget = counter.context, counter.witness.endpoint.max_tokens
    if context is None:
        return None
    tokens = context + 8
    if context > MOST_BEYOND or (budget is not None and tokens * SHARE > budget):
        detail = f"by us: none beyond {context:,} tokens is sent; to send one would cost too much of a probe"
        return Control(BEYOND, True, detail)
    ids = counter.begun(long_ids(counter.tokenizer, tokens - (counter.bos is not None)))
    try:
        counted = counter.count(ids.tolist() if takes_ids else counter.tokenizer.decode(ids), tokens)
    except RefusedRequestError as error:
        return Control(BEYOND, True, f"one of {tokens:,} tokens, the context being {context:,}, gets {error.status}")
    if counted is None:
        return Control(BEYOND, None, f"one of {tokens:,} tokens is answered, and what was read of it is not counted")
    if counted < tokens and (takes_ids or counted <= context):
        raise ModelError(
            f"{counter.url}: cuts prompts: {tokens:,} tokens were sent, beyond its context of {context:,}, and "
            f"{counted:,} are counted",
            "start the server so that it refuses what it cannot read",
        )
    return Control(BEYOND, True, f"one of {tokens:,} tokens is read whole, beyond the stated context of {context:,}")


def _start_in_words(bos: int | None, *, by_server: bool) -> str:
    if bos is None:
        return "nothing: the tokenizer has no start token"
    return "put by the server" if by_server else f"the start token, id {bos}, sent by us"


def _count_of(answer: Any) -> int | None:
    if not isinstance(answer, Mapping) or not isinstance(answer.get("choices"), list):
        raise BadAnswerError("an answer to a completion without choices")
    usage = answer.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    return count if type(count) is int and count >= 0 else None


def _ids_of(answer: Any) -> list[int] | None:
    tokens = answer.get("tokens") if isinstance(answer, Mapping) else None
    return tokens if isinstance(tokens, list) and all(type(i) is int and i >= 0 for i in tokens) else None
