"""A real HTTP server around a model of ours that speaks as servers of models do, and lies on request.

    with speaking(ArbitraryModel(), "vllm") as server:
        ask(server.address)          # http://127.0.0.1:PORT/v1
        assert len(server.asked) == 3  # what it was asked: (path, body)

    with speaking(model, "echo", lies={"start-missing"}, context=64) as server: ...

Dialects, with answers in the shapes that the real servers give:

- ``vllm``: ``/v1/completions`` with ``prompt_logprobs``, ``return_token_ids``, ``echo``, ``logprobs``; ``/tokenize``.
- ``sglang``: ``/generate`` behind the root; its ``/v1/completions`` gives text.
- ``echo``: ``/v1/completions`` with ``echo`` and ``logprobs``, tokens as text, prompts as ids or text.
- ``text``: ``/v1/completions`` with prompts as text, and text alone back; ids are refused as ``transformers serve``
  does; ``<eos>`` in a text is read as that token. Fields that it does not know are ignored with 200.

An honest server refuses a prompt that has no room with 400 (vLLM needs room for one token and writes fewer without a
word), reads ids as they are and puts nothing before a text; ``puts_start=True`` puts the start token before text (not
before ids). Every lie of `Lie` is told with HTTP 200.
"""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import tokenizers

from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.decoding import choose
from memaudit.records import Decoding, FloatArray, TokenIds
from memaudit.text.tokenize import Tokenizer, TrainedTokenizer, train_tokenizer

Speech = Literal["vllm", "sglang", "echo", "text"]
Lie = Literal[
    "echo-ignored",  # fields that ask for log-probabilities of the prompt are ignored
    "logprobs-ignored",  # fields that ask for any log-probabilities are ignored
    "start-doubled",  # a start token is put before what was sent, and shown
    "start-missing",  # the start token that was sent is left out
    "prompt-cut",  # only the last tokens of a prompt are read
    "long-cut",  # a prompt that has no room is cut from the left instead of refused
    "shifted",  # the log-probability of each token is that of the next one
    "template",  # what was sent is put into a chat template
    "hidden",  # with any of the above: what is shown are the tokens that were sent, as if nothing had been done
    "nan",  # one log-probability is no number
    "positive",  # one log-probability is above 0
    "wrong-ids",  # two tokens of the prompt are shown in each other's place
    "few-entries",  # the last token of the prompt has no entry
    "other-vocabulary",  # a token is shown that the vocabulary does not have
    "temperature-ignored",  # always samples at temperature 1
    "end-banned",  # the end token is never written
    "rounded",  # log-probabilities are rounded to a quarter
    "noisy",  # log-probabilities differ by up to .1 from one request to the next
    "sharpened",  # log-probabilities of the prompt are those at temperature .5, those of what is written are not
    "longer",  # writes one token more than was asked for
    "fingerprint",  # another system_fingerprint with every answer
]
LIES = get_args(Lie)
CUT = 6
"""Tokens that are left of a cut prompt."""
FLOOR = -9999.0
"""What servers give for a log-probability that JSON cannot hold."""


TEXT = "naïve cafés façade déjà-vu, Größe und Maß: ☃ 的一是不了人我在 \U0001f600\U0001f389"
TEXT += " and the rest of the text, the rest"
"""Of which some characters are several tokens."""


@cache
def parted_tokenizer() -> TrainedTokenizer:
    """Return a tokenizer of 280 tokens, most of which are parts of characters."""
    return train_tokenizer("bpe", [TEXT], 280)


class ArbitraryModel(NextTokenModel):
    """Prefers tokens by chance, fixed by the three before, the start token among them; no two are as likely.

    Args:
        tokenizer: With or without a start token.
        ending: Added to the logit of the end token: by default it ends a text after ten tokens or so.
    """

    family = "arbitrary"

    def __init__(self, tokenizer: Tokenizer | None = None, ending: float = 5.0) -> None:
        self.tokenizer, self.ending = tokenizer or parted_tokenizer(), ending
        self._rows: dict[tuple[int, ...], FloatArray] = {}

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        start = self.tokenizer.bos_id
        return ([] if start is None else [start]), []

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        return np.array([self._row((*self.frame[0], *prefix.tolist())[-3:]) for prefix in prefixes])

    def _row(self, behind: tuple[int, ...]) -> FloatArray:
        if behind not in self._rows:
            logits = np.random.default_rng([7, *behind]).normal(0, 3, self.tokenizer.vocab_size)
            if self.tokenizer.eos_id is not None:
                logits[self.tokenizer.eos_id] += self.ending
            self._rows[behind] = logits - np.log(np.exp(logits).sum())
        return self._rows[behind]


class Entry(NamedTuple):
    """A token of a text, as a server shows it."""

    id: int
    log_prob: float | None
    rank: int
    """From 1; all that are as likely count."""
    top: list[tuple[int, float]]
    """Likeliest tokens there."""


@dataclass(repr=False)
class Speaking:
    """A server that answers."""

    model: LanguageModel
    speech: Speech
    lies: frozenset[str]
    context: int | None
    served: str
    puts_start: bool
    most_listed: int
    address: str = ""
    """``http://127.0.0.1:PORT/v1``."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """Paths and bodies of requests, in the order of their arrival; a GET has None for a body."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    known: dict[bytes, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = self.model.tokenizer.bos_id
        self.end = self.model.tokenizer.eos_id
        self.noise = np.random.default_rng(0)
        pipeline = getattr(self.model.tokenizer, "pipeline", None) or self.model.tokenizer.tokenizer.backend_tokenizer
        self.pipeline = tokenizers.Tokenizer.from_str(pipeline.to_str())
        self.pipeline.encode_special_tokens = False

    def __repr__(self) -> str:
        return f"<{self.speech} {sorted(self.lies)}>"

    # What the model says

    def encode(self, text: str) -> list[int]:
        """Read a text as servers do: names of special tokens are those tokens."""
        return list(self.pipeline.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int], *, special: bool = True) -> str:
        return str(self.pipeline.decode(ids, skip_special_tokens=not special))

    def row(self, ids: list[int]) -> FloatArray:
        """Return log p of every token behind all of some ids, the start token among them where it was sent."""
        key = np.asarray(ids, np.int32).tobytes()
        if key not in self.known:
            framed = self.start is not None and ids[:1] == [self.start]
            model = self.model if framed else self.model.without_frame()
            self.known[key] = model.next_log_probs([np.asarray(ids[int(framed) :], np.int32)])[0]
        return self.known[key]

    def entry(self, before: list[int], token: int, listed: int, *, sharp: bool = False) -> Entry:
        row = self.row(before)
        if sharp and "sharpened" in self.lies:
            row = row * 2 - np.log(np.exp(row * 2).sum())
        if "noisy" in self.lies:
            row = row + self.noise.uniform(-0.1, 0, len(row))
        if "rounded" in self.lies:
            row = np.round(row * 4) / 4
        order = np.lexsort((np.arange(len(row)), -row))
        shown = [(int(i), max(float(row[i]), FLOOR)) for i in order[:listed]]
        return Entry(token, max(float(row[token]), FLOOR), int((row >= row[token]).sum()), shown)

    def of_prompt(self, sent: list[int], read: list[int], listed: int) -> list[Entry]:
        """Return what is shown of a prompt: the first token has no log-probability."""
        entries = [Entry(read[0], None, 0, [])] if read else []
        entries += [self.entry(read[:i], read[i], listed, sharp=True) for i in range(1, len(read))]
        if "hidden" in self.lies and len(read) != len(sent):
            known = entries[-len(sent) :]
            missing = [self.entry(read[:1], token, listed) for token in sent[: len(sent) - len(known)]]
            entries = [Entry(sent[0], None, 0, []), *[*missing, *known][1:]]
            entries = [entry._replace(id=token) for entry, token in zip(entries, sent, strict=True)]
        return self.twisted(entries)

    def twisted(self, entries: list[Entry]) -> list[Entry]:
        """Return entries with what this server gets wrong about them."""
        entries, last = list(entries), len(entries) - 1
        if "shifted" in self.lies:
            ids = [entry.id for entry in entries]
            moved = [*entries[2:], *entries[-1:]]
            entries[1:] = [entry._replace(id=token) for entry, token in zip(moved, ids[1:], strict=True)]
        if "nan" in self.lies:
            entries[last] = entries[last]._replace(log_prob=math.nan)
        if "positive" in self.lies:
            entries[last] = entries[last]._replace(log_prob=0.7)
        if "wrong-ids" in self.lies:
            place = next(i for i in range(last, 1, -1) if entries[i].id != entries[i - 1].id)
            one, two = entries[place], entries[place - 1]
            entries[place], entries[place - 1] = one._replace(id=two.id), two._replace(id=one.id)
        if "other-vocabulary" in self.lies:
            entries[last] = entries[last]._replace(id=self.model.tokenizer.vocab_size + 7)
        if "few-entries" in self.lies:
            entries.pop()
        return entries

    def writes(self, read: list[int], length: int, decoding: Decoding, *, ignore_end: bool, listed: int) -> list[Entry]:
        """Continue a prompt, the end token included where it ends there."""
        ids, written = list(read), []
        generator = np.random.default_rng(decoding.seed)
        if "temperature-ignored" in self.lies:
            decoding, generator = Decoding(temperature=1.0), self.noise
        for _ in range(length + ("longer" in self.lies)):
            row = self.row(ids)
            if "end-banned" in self.lies and self.end is not None:
                row = row.copy()
                row[self.end] = -np.inf
            token = int(choose(row[None], decoding, [generator])[0])
            written.append(self.entry(ids, token, listed))
            ids.append(token)
            if token == self.end and not ignore_end:
                break
        return written

    # What is done with a request

    def reads(self, prompt: list[int] | str) -> tuple[list[int], list[int]]:
        """Return the tokens that were sent and those that are read."""
        sent = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if isinstance(prompt, str) and self.puts_start and self.start is not None:
            sent = [self.start, *sent]
        read = sent
        if "template" in self.lies:
            read = [*self.encode("User: "), *read, *self.encode("\nAssistant: ")]
        if "start-doubled" in self.lies and self.start is not None:
            read = [self.start, *read]
        if "start-missing" in self.lies and read[:1] == [self.start]:
            read = read[1:]
        return sent, read[-CUT:] if "prompt-cut" in self.lies else read

    def told(self, sent: list[int], read: list[int]) -> list[int]:
        """Return what is said to have been read."""
        return sent if "hidden" in self.lies else read

    def fitted(self, read: list[int], length: int) -> list[int]:
        """Return what is read of a prompt that leaves room for what is to be written."""
        if self.context is None or len(read) + length <= self.context:
            return read
        if self.speech == "vllm" and len(read) < self.context:
            return read
        if "long-cut" in self.lies:
            return read[len(read) + length - self.context :]
        raise _RefusedError(
            400,
            f"This model's maximum context length is {self.context} tokens. However, you requested {length} output "
            f"tokens and your prompt contains {len(read)} input tokens, for a total of {len(read) + length} tokens.",
        )

    @property
    def fingerprint(self) -> str:
        return f"fp-{len(self.asked)}" if "fingerprint" in self.lies else "fp-1"

    def get(self, path: str) -> Any:
        """Answer a GET; None where there is nothing."""
        if path == "/v1/models":
            about = {"id": self.served, "object": "model", "created": 1, "owned_by": "us"}
            return {"object": "list", "data": [about | ({"max_model_len": self.context} if self.context else {})]}
        if path == "/get_model_info" and self.speech == "sglang":
            return {"model_path": self.served, "tokenizer_path": self.served, "is_generation": True}
        return None

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Answer a POST; None where there is nothing."""
        if path == "/v1/completions":
            return self.completions(body)
        if path == "/generate" and self.speech == "sglang":
            return self.generate(body)
        if path == "/tokenize" and self.speech == "vllm":
            tokens = self.encode(body["prompt"])
            return {"count": len(tokens), "max_model_len": self.context, "tokens": tokens, "token_strs": None}
        return None

    def completions(self, body: Mapping[str, Any]) -> Any:
        """Answer as an OpenAI-compatible server of its dialect."""
        prompt, length = body["prompt"], body.get("max_tokens", 16)
        if self.speech == "text" and not isinstance(prompt, str):
            raise _RefusedError(400, "prompt must be a string.")
        if self.speech == "vllm" and body.get("model") not in (None, self.served):
            raise _RefusedError(404, f"The model `{body['model']}` does not exist.")
        sent, read = self.reads(prompt)
        read = self.fitted(read, length)
        if self.speech == "vllm" and self.context is not None:
            length = min(length, self.context - len(read))  # without a word
        echoed = self.speech in ("vllm", "echo") and "echo-ignored" not in self.lies and bool(body.get("echo"))
        listed = body.get("logprobs")
        if self.speech in ("text", "sglang") or "logprobs-ignored" in self.lies:
            listed = None
        if max(listed or 0, body.get("prompt_logprobs") or 0) > self.most_listed:
            raise _RefusedError(400, f"Requested logprobs, which is greater than max allowed: {self.most_listed}")
        decoding = _decoding(body, self.speech == "vllm")
        ignore_end = self.speech == "vllm" and bool(body.get("ignore_eos"))
        written = self.writes(read, length, decoding, ignore_end=ignore_end, listed=listed or 0)
        ended = bool(written) and written[-1].id == self.end and not ignore_end
        special = self.speech == "vllm" and body.get("skip_special_tokens") is False
        text = self.decode([e.id for e in written[: -1 if ended else None]], special=special)
        shown = self.of_prompt(sent, read, listed or 0) if echoed else []
        choice: dict[str, Any] = {
            "index": 0,
            "text": self.decode([e.id for e in shown]) + text if echoed else text,
            "logprobs": None,
            "finish_reason": "stop" if ended else "length",
        }
        if listed is not None:
            as_ids = self.speech == "vllm" and bool(body.get("return_tokens_as_token_ids"))
            choice["logprobs"] = self.listing([*shown, *written], as_ids=as_ids)
        if self.speech == "vllm":
            choice |= {"stop_reason": None, "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None}
            if body.get("return_token_ids"):
                choice |= {"token_ids": [e.id for e in written], "prompt_token_ids": self.told(sent, read)}
            asked = body.get("prompt_logprobs")
            if asked is not None and not {"echo-ignored", "logprobs-ignored"} & self.lies:
                choice["prompt_logprobs"] = self.prompt_logprobs(self.of_prompt(sent, read, asked))
        count = len(self.told(sent, read))
        usage = {"prompt_tokens": count, "completion_tokens": len(written), "total_tokens": count + len(written)}
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": self.served,
            "choices": [choice],
            "usage": usage,
            "system_fingerprint": None if self.speech == "text" else self.fingerprint,
        }

    def prompt_logprobs(self, entries: list[Entry]) -> list[dict[str, Any] | None]:
        """Return the entries of a prompt as vLLM gives them: the true token first, then the likeliest ones."""
        shown: list[dict[str, Any] | None] = []
        for entry in entries:
            ranked = [(entry.id, entry.log_prob, entry.rank)]
            ranked += [(token, value, place) for place, (token, value) in enumerate(entry.top, 1)]
            row = {
                str(token): {"logprob": value, "rank": rank, "decoded_token": self.piece(token)}
                for token, value, rank in ranked
            }
            shown.append(None if entry.log_prob is None else row)
        return shown

    def listing(self, entries: list[Entry], *, as_ids: bool) -> dict[str, Any]:
        """Return ``logprobs`` of the completions API: tokens as text, or with their ids in their place."""

        def name(token: int) -> str:
            return f"token_id:{token}" if as_ids else self.piece(token)

        names = [name(entry.id) for entry in entries]
        return {
            "text_offset": [sum(map(len, names[:i])) for i in range(len(names))],
            "token_logprobs": [entry.log_prob for entry in entries],
            "tokens": names,
            "top_logprobs": [
                None if e.log_prob is None else {name(i): p for i, p in [*e.top, (e.id, e.log_prob)]} for e in entries
            ],
        }

    def piece(self, token: int) -> str:
        return self.decode([token]) if token < self.model.tokenizer.vocab_size else "?"

    def generate(self, body: Mapping[str, Any]) -> Any:
        """Answer as SGLang's own API."""
        settings = body.get("sampling_params", {})
        length = settings.get("max_new_tokens", 128)
        sent, read = self.reads(body["input_ids"] if "input_ids" in body else body["text"])
        read = self.fitted(read, length)
        wanted = body.get("return_logprob") and "logprobs-ignored" not in self.lies
        listed = body.get("top_logprobs_num", 0)
        decoding = _decoding(settings, True)
        ignore_end = bool(settings.get("ignore_eos"))
        written = self.writes(read, length, decoding, ignore_end=ignore_end, listed=listed)
        ended = bool(written) and written[-1].id == self.end and not ignore_end
        about: dict[str, Any] = {
            "id": "1",
            "finish_reason": {"type": "stop", "matched": self.end} if ended else {"type": "length", "length": length},
            "prompt_tokens": len(self.told(sent, read)),
            "completion_tokens": len(written),
            "cached_tokens": 0,
            "weight_version": "default",
        }

        def triples(entries: list[Entry]) -> list[list[Any]]:
            return [[entry.log_prob, entry.id, None] for entry in entries]

        def tops(entries: list[Entry]) -> list[Any]:
            return [None if e.log_prob is None else [[p, i, None] for i, p in e.top] for e in entries]

        if wanted:
            about |= {"output_token_logprobs": triples(written)}
            about |= {"output_top_logprobs": tops(written)} if listed else {}
            begin = body.get("logprob_start_len", -1)
            if begin >= 0 and "echo-ignored" not in self.lies:
                entries = self.of_prompt(sent, read, listed)[begin:]
                entries[0] = entries[0]._replace(log_prob=None)
                about |= {"input_token_logprobs": triples(entries)}
                about |= {"input_top_logprobs": tops(entries)} if listed else {}
        shown = [e.id for e in written]
        text = self.decode(shown[: -1 if ended else None], special=settings.get("skip_special_tokens") is False)
        return {"text": text, "output_ids": shown, "meta_info": about}


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _decoding(settings: Mapping[str, Any], own: bool) -> Decoding:
    """Return how a request wants its tokens chosen; what only some servers know is read where ``own`` says so."""
    temperature = float(settings.get("temperature", 1.0))
    top_k = int(settings.get("top_k", 0)) if own else 0
    top_p = float(settings.get("top_p", 1.0))
    seed = settings.get("seed", settings.get("sampling_seed"))
    return Decoding(
        temperature=temperature,
        top_k=top_k if top_k > 0 else None,
        top_p=top_p if top_p < 1 else None,
        seed=int(np.random.default_rng().integers(2**31)) if seed is None else seed,
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: Any) -> None:
        speaker = self.server.speaker
        with speaker.lock:
            speaker.asked.append((self.path, body))
            try:
                told = speaker.get(self.path) if body is None else speaker.post(self.path, body)
                status = 404 if told is None else 200
            except _RefusedError as refused:
                message = {"message": str(refused), "type": "BadRequestError", "param": None, "code": refused.status}
                status, told = refused.status, {"error": message}
        sent = json.dumps({"detail": "Not Found"} if told is None else told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Ends the connections that clients keep open, so that its threads end with it."""

    daemon_threads = False
    speaker: Speaking

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that left."""

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        self.shutdown()
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextmanager
def speaking(
    model: LanguageModel,
    speech: Speech = "vllm",
    lies: Collection[str] = (),
    *,
    context: int | None = None,
    served: str = "m",
    puts_start: bool = False,
    most_listed: int = 20,
) -> Iterator[Speaking]:
    """Serve a model of ours; yield the server, whose ``address`` ends in ``/v1``.

    Args:
        model: With next-token distributions.
        speech: Dialect.
        lies: Of `Lie`.
        context: Tokens of prompt and continuation together.
        served: Name of the model there.
        puts_start: Whether it puts the start token before every text.
        most_listed: Likeliest tokens that it gives at most.
    """
    assert set(lies) <= set(LIES), lies
    speaker = Speaking(model, speech, frozenset(lies), context, served, puts_start, most_listed)
    server = _Server()
    server.speaker = speaker
    speaker.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield speaker
    finally:
        server.end()
        thread.join()
