"""Whether the log-probabilities that a server gives are those of the tokens that it is asked about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from memaudit.errors import ModelError, one_line
from memaudit.findings import Control
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.probing.trials import LEAST, Noise, Trial, largest
from memaudit.models.remote.probing.witness import Exchange, Place
from memaudit.records import GREEDY, Capability, TokenIds
from memaudit.text.tokenize import Tokenizer

SAME = 1e-2
"""Nats within which two ways of asking the same agree, beside the noise that was measured."""
GROSS = 0.5
"""Nats from which on a difference is no rounding."""
SEEN = 3
"""Answers that a finding about most of them rests on at least."""
PIECES = 3
"""Tokens that are asked about one by one."""
AGREEMENT, GREEDILY, ALONE, READ, SPACES = (
    "log-probabilities of a given text are those of the same text generated",
    "greedy decoding takes the likeliest token",
    "the same answers alone and in company",
    "what stands far before a token is read",
    "white space before a text comes back",
)
"""Names of controls."""


@dataclass
class Agreement:
    """The worst that was seen."""

    difference: float = 0.0
    generated: int = 0
    """Tokens that were written and scored."""
    alone: int = 0
    """Tokens that were scored one by one too."""
    passed_over: int = 0
    """Generated tokens that are said to be not the likeliest."""


def bound(value: float) -> str:
    """Return the power of ten that a difference does not exceed: the same words for the same noise."""
    return (
        "0 nats" if value == 0 else f"at most 1e{math.ceil(math.log10(value))} nats" if value < math.inf else "infinite"
    )


def in_nats(value: float) -> str:
    """Return a difference that is no noise, to a thousandth."""
    return f"{round(1000 * value) / 1000:g}" if value < math.inf else "infinite"


def check_agreement(url: str, dialect: Dialect, trials: Sequence[Trial], noise: Noise) -> tuple[Control, ...]:
    """Score what was generated, as a whole and one token at a time.

    Returns:
        Whether log-probabilities agree, of a server that gives them, and whether greedy decoding is that.

    Raises:
        ModelError: They are those of other tokens.
    """
    if Capability.LOG_PROBS not in dialect.gives:
        return (_check_repeated(trials),)
    seen = Agreement()
    for trial in trials:
        told, values = trial.again, trial.written[0].log_prob
        if told is None:
            continue
        if values is not None:
            _refuse_shifted(url, told.log_prob, values, "prompt and generated")
            if trial.written[0].ids is None and any(told.rank) and largest(told.log_prob, values) > GROSS:
                continue  # the text was written as other tokens than it is read as
            seen.difference = max(seen.difference, largest(told.log_prob, values))
        seen.generated += len(told.rank)
        seen.passed_over += sum(rank > 0 for rank in told.rank)
    for trial in trials[:1]:
        passage = trial.passage
        ones = _one_by_one(dialect, passage.prompt, passage.suffix[: PIECES + 1])
        _refuse_shifted(url, trial.scored[0].log_prob[: len(ones)], ones, "a text and each of its tokens alone")
        seen.difference = max(seen.difference, largest(trial.scored[0].log_prob[: len(ones)], ones))
        seen.alone += len(ones)
    agreement = _judge(url, seen, noise)
    if not seen.generated:
        return agreement, _check_repeated(trials)
    detail = (
        f"{seen.passed_over} of {seen.generated} tokens that were generated are said to be less likely than another"
    )
    return agreement, Control(GREEDILY, not seen.passed_over, detail)


def _judge(url: str, seen: Agreement, noise: Noise) -> Control:
    count = f"{seen.generated} tokens"
    if seen.difference > GROSS + noise.difference:
        raise ModelError(
            f"{url}: log-probabilities of a given text are not those of the same text written: "
            f"up to {in_nats(seen.difference)} nats apart",
            "another version of the server, or a model without a template, may answer as asked",
        )
    if 4 * seen.passed_over > seen.generated:
        raise ModelError(
            f"{url}: greedy decoding does not take the likeliest token: {seen.passed_over} of {count} are said to be "
            "less likely than another",
            "start the server without penalties and samplers of its own",
        )
    return Control(
        AGREEMENT,
        seen.difference <= SAME + noise.difference,
        f"{count} that were generated, and {seen.alone} one by one: they differ by {bound(seen.difference)}",
    )


def _check_repeated(trials: Sequence[Trial]) -> Control:
    same = sum(t.written[0].text == t.written[1].text for t in trials)
    detail = f"{same} of {len(trials)} texts are the same when asked again; the server does not say which is likeliest"
    return Control(GREEDILY, same == len(trials), detail)


def _one_by_one(dialect: Dialect, prompt: TokenIds, suffix: TokenIds) -> list[float]:
    begun = [np.concatenate([prompt, suffix[:place]]).astype(np.int32) for place in range(len(suffix))]
    return [dialect.score(b, suffix[i : i + 1], kept=False).log_prob[0] for i, b in enumerate(begun)]


def _refuse_shifted(url: str, whole: Sequence[float], others: Sequence[float], what: str) -> None:
    """Refuse values that are those of the token before or behind, and not of their own."""
    if len(whole) < LEAST or largest(whole, others) <= GROSS:
        return
    shifted = min(largest(whole[1:], others[:-1]), largest(whole[:-1], others[1:]))
    if shifted <= SAME:
        raise _shifted(url, f"those of {what}")


def _shifted(url: str, what: str) -> ModelError:
    return ModelError(
        f"{url}: log-probabilities are shifted by one: {what} agree when they are moved by one token",
        "another version of the server may give them where they belong",
    )


def refuse_shifted_lists(url: str, seen: Sequence[Exchange]) -> None:
    """Refuse a server that says of each token what the list of the likeliest ones says of the next.

    Raises:
        ModelError: It does so in most of its answers; in a few, it is a fault that passes.
    """
    told = [moved for exchange in seen if (moved := _moved(exchange.places)) is not None]
    if 2 * sum(told) > len(told) and sum(told) >= SEEN:
        raise _shifted(url, "the log-probabilities of tokens and those in their lists of the likeliest ones")


def refuse_shifted_prompts(url: str, seen: Sequence[Exchange]) -> None:
    """Refuse a server that says of the tokens of a prompt what it said of their neighbours when it wrote them.

    Raises:
        ModelError: It does so in one of its answers.
    """
    for wrote in seen:
        sent, values = wrote.sent, [place.value for place in wrote.places]
        if not isinstance(sent, tuple) or wrote.wants_prompt:
            continue
        for told in seen:
            whole = told.sent if told.of_sent and isinstance(told.sent, tuple) else ()
            if len(whole) == len(sent) + len(values) and whole[: len(sent)] == sent:
                _refuse_shifted(url, told.of_sent[len(sent) - 1 :], values, "prompt and generated")


def _moved(places: Sequence[Place]) -> bool | None:
    """Return whether values are those of their neighbours; None where too few of them stand in a list to say."""
    pairs = [(place.value, place.own) for place in places]
    neighbours = [
        *([(a.value, b.own) for a, b in pairwise(places)], [(b.value, a.own) for a, b in pairwise(places)]),
        *([(place.value, place.behind) for place in places], [(place.value, place.before) for place in places]),
    ]
    if not _are_same(pairs) and any(map(_are_same, neighbours)):
        return True
    return False if len(_both(pairs)) >= LEAST - 1 else None


def _both(pairs: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return [(one, other) for one, other in pairs if other is not None]


def _are_same(pairs: Sequence[tuple[float, float | None]]) -> bool:
    """Whether values are the same as what a list says, wherever it says something, which is often enough."""
    known = _both(pairs)
    return len(known) >= LEAST - 1 and all(abs(one - other) <= SAME for one, other in known)


def check_far(
    url: str, dialect: Dialect, prompts: Sequence[TokenIds], suffix: TokenIds, noise: Noise
) -> Control | None:
    """Check that long prompts that differ in one place alone are not answered to the bit alike.

    Args:
        url: For the error.
        dialect: That of the server.
        prompts: One, and others of its length that differ from it: at the beginning first, then further on.
        suffix: What is scored behind them.
        noise: How differently the same prompt is answered.

    Returns:
        None of a server that gives no log-probabilities; not run where the same prompt is answered as differently.

    Raises:
        ModelError: They are: what stands there is not read.
    """
    if Capability.LOG_PROBS not in dialect.gives:
        return None
    first, *others = (dialect.score(prompt, suffix, kept=False).log_prob for prompt in prompts)
    length = len(prompts[0])
    for prompt, other in zip(prompts[1:], others, strict=True):
        if first == other:
            place = int(np.argmax(prompt != prompts[0]))
            where = "the beginning" if prompt is prompts[1] else f"token {place:,}"
            raise ModelError(
                f"{url}: cuts prompts: two of {length:,} tokens that differ at {where} alone get the same "
                "log-probabilities to the last bit",
                "start the server with a larger context",
            )
    further = f", and so does each of {len(others) - 1} places further on" if len(others) > 2 else ""
    told = f"another beginning changes what follows {length:,} tokens{further}"
    if min(largest(first, other) for other in others) <= noise.difference:
        return Control(READ, None, f"{told}, but in some place no more than asking again does")
    return Control(READ, True, told)


def check_start(url: str, dialect: Dialect, trial: Trial, noise: Noise) -> str:
    """Check that a start token changes what follows, and return that in words; empty where nothing tells.

    Raises:
        ModelError: It changes nothing.
    """
    prompt, suffix = trial.passage.prompt, trial.passage.suffix
    if Capability.LOG_PROBS not in dialect.gives or dialect.tokenizer.bos_id is None or not dialect.takes_ids:
        return ""
    if dialect.puts_start:
        return ""
    without = dialect.score(prompt[1:], suffix, kept=False).log_prob
    if without == trial.scored[0].log_prob:
        raise ModelError(
            f"{url}: the start token is missing: with it and without it the log-probabilities are the same to the "
            "last bit",
            "serve the model so that ids are read as they are sent",
        )
    difference = largest(without, trial.scored[0].log_prob)
    beside = ", no more than when asked again" if difference <= noise.difference else ""
    return f"without it log-probabilities differ by up to {in_nats(difference)} nats{beside}"


def check_spaces(dialect: Dialect, trials: Sequence[Trial]) -> Control | None:
    """Check that white space at the beginning of a text comes back, by texts that are asked for again in the middle.

    Returns:
        None of a server that names the tokens it writes, and where nothing tells.
    """
    if dialect.takes_ids or not dialect.joins:
        return None
    texts = [trial.written[0].text for trial in trials]
    if any(text[:1].isspace() for text in texts):
        return Control(SPACES, True, "a text that was written begins with it")
    for trial, text in zip(trials, texts, strict=True):
        for whole in (text, f" {text}"):  # a space that it began with may be gone already
            ids, at = _before_space(dialect.tokenizer, whole)
            rest = whole.removeprefix(dialect.tokenizer.decode(ids[:at]))
            if not at or len(rest.strip()) < LEAST:
                continue
            begun = np.concatenate([trial.passage.prompt, ids[:at]]).astype(np.int32)
            told = dialect.write(begun, len(ids) - at, GREEDY, kept=False).text
            if told[:1].isspace():
                return Control(SPACES, True, "a text that is asked for in its middle begins with it")
            common = min(len(told), len(rest.strip()))
            if common >= LEAST and told[:common] == rest.strip()[:common]:
                detail = f"'{one_line(told, 20)}' came where ' {one_line(rest.strip(), 20)}' had been written"
                return Control(SPACES, False, f"{detail}: what follows a space is not recognised")
    return None


def _before_space(tokenizer: Tokenizer, text: str) -> tuple[TokenIds, int]:
    """Return the ids of a text, and how many of them stand before white space within it; 0: there is none."""
    ids = tokenizer.encode_batch([text])[0].ids
    for at in range(1, len(ids)):
        head = tokenizer.decode(ids[:at])
        if head.strip() and text.startswith(head) and text[len(head) : len(head) + 1].isspace():
            return ids, at
    return ids, 0


def check_noise(noise: Noise, connections: int) -> Control:
    """Say how much the same question is answered otherwise."""
    told = f"{noise.other} of {noise.continuations} continuations differ"
    if noise.scores:
        told += f"; {noise.scores} log-probabilities differ by {bound(noise.difference)}"
    passed = not noise.other and noise.difference <= SAME
    return Control(ALONE, passed, f"{told}; up to {connections} requests at once")
