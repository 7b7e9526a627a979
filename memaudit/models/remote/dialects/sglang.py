"""SGLang's own API: log-probability of every token of a prompt, and the likeliest tokens beside it.

Written from its sources and documentation, and tried on a server of ours that answers in the same shapes; no SGLang was
at hand. ``input_token_logprobs`` holds ``[log p, id, text or null]`` for each token of the prompt, null for the first;
``input_top_logprobs`` holds a list of the same kind for each. A prompt needs room for one token more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from memaudit.errors import ModelError
from memaudit.models.remote.dialects.answers import id_of, log_prob_of
from memaudit.models.remote.dialects.base import SCORES
from memaudit.models.remote.dialects.given_text import NEUTRAL, GivenText, check_same, rank_among, seed_for, without_end
from memaudit.models.remote.results import Written
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError
from memaudit.records import Decoding, TokenIds

PATH = "^/generate"
INPUT = ("input_token_logprobs", "input_top_logprobs")
LISTED = 20
"""Likeliest tokens that are asked for at every place."""
FIXED: Mapping[str, Any] = {
    **NEUTRAL, "n": 1, "stop": [], "min_new_tokens": 0, "ignore_eos": True, "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}  # fmt: skip
"""Its ``ignore_eos`` lets the end token be written and goes on behind it, as our own decoding does."""


class Sglang(GivenText):
    """See the module."""

    name: ClassVar[str] = "sglang"
    label: ClassVar[str] = "SGLang, input_token_logprobs"
    path: ClassVar[str] = PATH

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Look for entries of a prompt that hold log-probabilities and ids, with lists of the likeliest tokens."""

        def read(answer: Any) -> bool:
            about = answer.get("meta_info") if isinstance(answer, Mapping) else None
            entries, tops = (about.get(name) for name in INPUT) if isinstance(about, Mapping) else (None, None)
            return bool(_triples(entries) and isinstance(tops, list) and any(map(_triples, tops)))

        ids = np.concatenate([prompt, suffix]).tolist()
        try:
            found = self.transport.ask(PATH, self._scoring(ids), read, tokens=len(ids) + 1, kept=False)
        except RefusedRequestError:
            return False
        self.gives, self.listed = SCORES, self._listed
        return bool(found)

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Let it write as many tokens as are asked for, end tokens among them.

        Raises:
            ModelError: Top-k and top-p are to be applied one after the other; it applies both to the same distribution.
        """
        how: dict[str, Any] = {"max_new_tokens": length, "temperature": 0.0, **FIXED}
        if not decoding.greedy:
            if decoding.top_k is not None and decoding.top_p is not None:
                raise ModelError(
                    f"{self.transport.url}: cuts by top-k and by top-p at once, not one after the other",
                    "leave out --top-k or --top-p",
                )
            how |= {"temperature": decoding.temperature, "sampling_seed": seed_for(prompt, seed, attempt)}
            how |= {"top_k": decoding.top_k or -1, "top_p": decoding.top_p or 1.0}
        body = {"input_ids": prompt.tolist(), "sampling_params": how, "return_logprob": True, "stream": False}
        read = partial(self._read_written, sent=len(prompt), most=length)
        most = len(prompt) + length
        return Written(**self.transport.ask(PATH, body, read, tokens=most, attempt=attempt, kept=kept))

    @property
    def _listed(self) -> int:
        return min(LISTED, self.tokenizer.vocab_size)

    def _scoring(self, ids: list[int]) -> dict[str, Any]:
        how = {"max_new_tokens": 0, "temperature": 0.0, **FIXED}
        asked = {"return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": self._listed, "stream": False}
        return {"input_ids": ids, "sampling_params": how, **asked}

    def _read_scores(self, answer: Any, *, ids: list[int]) -> dict[str, list[Any]]:
        about = _about(answer, len(ids))
        entries, tops = _triples(about.get(INPUT[0])), about.get(INPUT[1])
        if not entries or not isinstance(tops, list) or len(tops) != len(entries):
            raise BadAnswerError("no input_token_logprobs, or no list of the likeliest tokens for each")
        check_same([entry[1] for entry in entries], ids, "input_token_logprobs")
        if entries[0][0] is not None or tops[0]:
            raise BadAnswerError("a log-probability of the first token: something stands before what was sent")
        values = [log_prob_of(entry[0]) for entry in entries[1:]]
        places = zip(ids[1:], values, map(self._top, tops[1:]), strict=True)
        return {"log_prob": values, "rank": [rank_among(*place, self._listed) for place in places]}

    def _top(self, told: Any) -> dict[int, float]:
        entries = _triples(told)
        top = {id_of(entry[1]): log_prob_of(entry[0]) for entry in entries}
        if len(top) != self._listed or len(entries) != len(top):
            raise BadAnswerError("the likeliest tokens are not as many as were asked for")
        return top

    def _read_written(self, answer: Any, *, sent: int, most: int) -> dict[str, Any]:
        about, text = _about(answer, sent), answer.get("text")
        entries = _triples(about.get("output_token_logprobs"))
        if not entries or not isinstance(text, str):
            raise BadAnswerError("no text, or no output_token_logprobs")
        ids, values = [id_of(entry[1]) for entry in entries], [log_prob_of(entry[0]) for entry in entries]
        if len(ids) > most or not all(token < self.tokenizer.vocab_size for token in ids):
            raise BadAnswerError("more tokens than were asked for, or some that the vocabulary does not have")
        shown = answer.get("output_ids")
        if isinstance(shown, list) and shown != ids[: len(shown)]:
            raise BadAnswerError("output_ids are not those of output_token_logprobs")
        reason = about.get("finish_reason")
        if not isinstance(reason, Mapping) or reason.get("type") not in ("stop", "length"):
            raise BadAnswerError("neither ended nor cut off: its finish_reason says something else")
        ended = reason["type"] == "stop"
        kept = without_end(ids, (self.tokenizer.eos_id, reason.get("matched")), ended=ended)
        text = self.tokenizer.decode(kept)
        return {"text": text, "ids": kept, "ended": ended, "log_prob": values[: len(kept)]}


def _about(answer: Any, sent: int) -> Mapping[str, Any]:
    """Return what an answer says of itself, once it counts the tokens that were sent."""
    about = answer.get("meta_info") if isinstance(answer, Mapping) else None
    if not isinstance(about, Mapping):
        raise BadAnswerError("no meta_info")
    read = about.get("prompt_tokens")
    if type(read) is int and read != sent:
        raise BadAnswerError(f"{read:,} tokens of prompt were read, {sent:,} were sent")
    return about


def _triples(told: Any) -> list[list[Any]]:
    """Return entries ``[log p, id, text]``; none where there are none, or others."""
    entries = told if isinstance(told, list) else []
    return entries if all(isinstance(entry, list) and len(entry) >= 2 for entry in entries) else []
