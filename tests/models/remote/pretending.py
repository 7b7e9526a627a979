"""Models of ours that pretend to stand behind an address: what a run makes of a server, without one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from memaudit.findings import Control
from memaudit.models.base import LanguageModel
from memaudit.models.remote.address import Api, Endpoint
from memaudit.models.remote.dialects.base import SCORES, WRITES, Dialect
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.probe import Probed
from memaudit.models.remote.results import Scored, Written
from memaudit.models.remote.transport import Transport
from memaudit.records import Capabilities, Capability, Decoding, TokenIds, Window

URL = "http://pretended:1/v1"
CHECK = "one start token before every text"


class PretendedTransport:
    """Does jobs one after the other, counts them, and knows in which folders it was to keep answers."""

    def __init__(self, url: str, endpoint: Endpoint) -> None:
        self.url, self.endpoint = url, endpoint
        self.asked = 0
        self.folders: list[Path] = []

    def each(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Do them."""
        self.asked += len(jobs)
        return [job() for job in jobs]

    def keep_in(self, folder: Path) -> None:
        """Note the folder."""
        self.folders.append(folder)

    def remember(self, name: str, value: Any) -> Any:
        """Remember nothing: what is given now is what was given first."""
        return value

    @property
    def spent(self) -> str:
        """How much was asked."""
        return f"{self.asked:,} requests" if self.asked else ""


class PretendedDialect(Dialect):
    """Answers as a model of ours does, and gives as much of it as it is told to."""

    name = "pretended"
    label = "pretended dialect"

    def __init__(self, transport: Transport, model: LanguageModel, gives: Capabilities, cut: int) -> None:
        super().__init__(transport, "some-model", model.tokenizer)
        self.model, self.gives, self.cut = model, gives, cut

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Always."""
        return True

    def score(self, prompt: TokenIds, suffix: TokenIds, *, kept: bool = True, attempt: int = 0) -> Scored:
        """Return what the model says."""
        scores = self.model.score([Window(self._inner(prompt), suffix)])
        return Scored(scores.log_prob.tolist(), scores.rank.tolist())

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Return what the model writes, as text where it gives no log-probabilities."""
        ids = self.model.continuations([self._inner(prompt)], length, decoding)[0].tolist()
        end = self.tokenizer.eos_id
        ended = end in ids
        ids = ids[: ids.index(end)] if ended else ids
        text = self.tokenizer.decode(np.concatenate([prompt, np.array(ids, np.int32)]))
        text = text.removeprefix(self.tokenizer.decode(prompt))
        return Written(text, ids if Capability.LOG_PROBS in self.gives else None, ended)

    def _inner(self, prompt: TokenIds) -> TokenIds:
        """Return the prompt without the start token, which the model puts there itself, cut from the left."""
        start = self.tokenizer.bos_id
        ids = prompt[1:] if start is not None and len(prompt) and prompt[0] == start else prompt
        return ids[self.cut :]


def pretended(
    model: LanguageModel,
    gives: Capabilities = SCORES,
    *,
    api: Api = "completions",
    url: str = URL,
    recital: str = "",
    fingerprint: str | None = "fp-1",
    behaviour: tuple[float | str | None, ...] = (-1.5,),
    listed: int | None = 20,
    cut: int = 0,
) -> RemoteModel:
    """Return a model behind an address that answers as ``model`` does.

    Args:
        model: Of ours.
        gives: `SCORES`, or `WRITES` of a server that gives text alone.
        api: How it is asked.
        url: Its address.
        recital: As of `Endpoint`.
        fingerprint: What it calls itself.
        behaviour: What it is recognised by.
        listed: As of `Dialect`.
        cut: Tokens of every prompt that it drops in silence.
    """
    transport = cast("Transport", PretendedTransport(url, Endpoint(api=api, recital=recital)))
    dialect = PretendedDialect(transport, model, gives, cut)
    dialect.listed = listed if gives == SCORES else None
    facts: dict[str, Any] = {
        "dialect": dialect.label,
        "gives": [str(one) for one in Capability if one in gives],
        "sends": "messages" if api == "chat" else "token ids",
        "listed": dialect.listed,
        "start": "the start token, sent by us",
        "end": "stops and says so",
        "fingerprint": fingerprint,
        "template_sha256": "ab" * 32 if api == "chat" else None,
    }
    controls = (Control(CHECK, True, "it counts as many tokens as we do"),)
    probed = Probed(dialect, "some-model", model.context_length, controls, behaviour, facts, [], 0.0, list)
    about = {"url": url, "served": "some-model", "api": api, **facts}
    told = hashlib.sha256(json.dumps([about, behaviour]).encode()).hexdigest()
    return RemoteModel(transport, probed, model.tokenizer, about, told)


TEXT = WRITES
"""What a server gives that gives text alone."""
