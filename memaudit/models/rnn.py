"""Recurrent language models: LSTM, GRU, and the multiplicative RNN (Sutskever, Martens, Hinton 2011)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import orjson
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memaudit.errors import InputError, ModelError
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import Settled, Step, continue_prompts, is_whole
from memaudit.models.multiplicative import MultiplicativeRnn
from memaudit.models.torch_scores import greedy_tokens, score_hidden, step_log_probs
from memaudit.records import GREEDY, AnyIds, Decoding, FloatArray, Objective, TokenIds, TokenScores, Window
from memaudit.text.tokenize import TrainedTokenizer

Cell = Literal["lstm", "gru", "mrnn"]
State = tuple[Tensor, ...]
"""Hidden state of each layer, shape [layers, rows, width]; an LSTM has its cell state as a second tensor."""

BATCH_TOKENS = 8192
"""Tokens scored together, padding included: enough rows for the matrix products, little memory."""
BATCH_ROWS = 256
"""Prompts continued together."""
LARGEST_SIZE = 1 << 24
"""Largest width, vocabulary or depth; a description that asks for more is a mistake or an attack."""


class RecurrentNetwork(nn.Module):
    """Embedding, recurrent layers, and a linear head that is applied where logits are asked for."""

    def __init__(self, vocab_size: int, cell: Cell, width: int, layers: int, embedding: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding)
        self.cells: nn.Module
        if cell == "mrnn":
            self.cells = MultiplicativeRnn(embedding, width, layers)
        else:
            kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
            self.cells = kind(embedding, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return hidden states [rows, length, width] for ids [rows, length], and the state to continue from."""
        start = state[0] if state is not None and len(state) == 1 else state
        hidden, last = self.cells(self.embedding(ids), start)
        return hidden, last if isinstance(last, tuple) else (last,)


class RnnModel(LanguageModel):
    """A recurrent next-token model; its state is what it remembers of the text so far.

    Args:
        tokenizer: The tokenizer whose ids the network reads.
        module: The network.
        config: The arguments the network was built with, as they are written to disk.
        training: How it was trained, for the record.
    """

    family = "rnn"
    objective: Objective = "next-token"
    recurrent = True

    def __init__(
        self,
        tokenizer: TrainedTokenizer,
        module: RecurrentNetwork,
        config: dict[str, Any],
        training: dict[str, Any] | None = None,
    ) -> None:
        self.tokenizer: TrainedTokenizer = tokenizer
        self.module = module
        self.config = config
        self.training = training or {}
        self.parameters = sum(weight.numel() for weight in module.parameters())

    @torch.no_grad()
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token by one teacher-forced scan per batch of about equally long windows."""
        scores = TokenScores.of_lengths([len(window.suffix) for window in windows])
        texts = [self._started(np.concatenate([w.prefix, w.suffix]), len(w.prefix)) for w in windows]
        self.module.eval()
        for batch in _batches([len(text) for text in texts]):
            width = max(len(texts[i]) for i in batch) - 1
            ids = np.zeros((len(batch), max(width, 1)), dtype=np.int64)
            for row, i in enumerate(batch):
                ids[row, : len(texts[i]) - 1] = texts[i][:-1]
            hidden, _ = self.module(self._tensor(ids))
            for row, i in enumerate(batch):
                count = len(windows[i].suffix)
                stop = len(texts[i]) - 1
                rows = slice(int(scores.offsets[i]), int(scores.offsets[i + 1]))
                targets = self._tensor(windows[i].suffix.astype(np.int64))
                if count:
                    states = hidden[row, stop - count : stop]
                    score_hidden(states, self.module.head, targets, decoding, scores, rows)
        return scores

    @torch.no_grad()
    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Read each prompt once, then continue from its state token by token."""
        self.module.eval()
        continued: dict[int, TokenIds] = {}
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for _, group in groupby(by_length, key=lambda i: len(prompts[i])):
            rows = list(group)
            chosen = continue_prompts(self._stepper(decoding), [prompts[i] for i in rows], length, decoding)
            continued.update(zip(rows, chosen, strict=True))
        return [continued[i] for i in range(len(prompts))]

    @torch.no_grad()
    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:
        """Read each prefix once, then continue from its state; a text that is settled leaves the batch.

        Raises:
            ModelError: A logit is NaN or infinite, or a prefix is empty and there is no start token.
        """
        self.module.eval()
        written = [np.empty(0, np.int32) for _ in windows]
        asked = sorted((i for i in range(len(windows)) if len(windows[i].suffix)), key=lambda i: len(windows[i].prefix))
        for _, group in groupby(asked, key=lambda i: len(windows[i].prefix)):
            rows = list(group)
            for first in range(0, len(rows), BATCH_ROWS):
                self._continue(windows, rows[first : first + BATCH_ROWS], settled or _never, written)
        return written

    def _continue(self, windows: Sequence[Window], rows: list[int], settled: Settled, written: list[TokenIds]) -> None:
        """Fill in what is written behind prefixes of equal length, until nothing is left of ``rows``."""
        ids = np.stack([self._started(windows[i].prefix, len(windows[i].prefix)) for i in rows])
        state: State | None = None
        while rows:
            hidden, state = self.module(self._tensor(ids.astype(np.int64)), state)
            tokens = greedy_tokens(hidden[:, -1], self.module.head).astype(np.int32)
            for i, token in zip(rows, tokens, strict=True):
                written[i] = np.append(written[i], token)
            going = [at for at, i in enumerate(rows) if not is_whole(windows[i].suffix, written[i], settled)]
            if len(going) < len(rows):
                kept = self._tensor(np.array(going, np.int64))
                state = tuple(part.index_select(1, kept) for part in state)
            rows, ids = [rows[at] for at in going], tokens[going, None]

    @torch.no_grad()
    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix) in float64, shape [prefixes, vocabulary], equal lengths in one scan.

        Raises:
            ModelError: A logit is NaN or infinite, or a prefix is empty and there is no start token.
        """
        self.module.eval()
        log_probs = np.empty((len(prefixes), self.tokenizer.vocab_size))
        by_length = sorted(range(len(prefixes)), key=lambda i: len(prefixes[i]))
        for _, group in groupby(by_length, key=lambda i: len(prefixes[i])):
            rows = list(group)
            log_probs[rows] = self._stepper(Decoding(1.0))([prefixes[i] for i in rows], None)
        return log_probs

    def save(self, folder: Path) -> None:
        """Write ``memaudit.json``, ``model.safetensors`` and the tokenizer into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder)
        weights = self.module.state_dict().items()
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        about = {
            "format": 1,
            "family": self.family,
            "objective": self.objective,
            "config": self.config,
            "training": self.training,
        }
        (folder / "memaudit.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            ModelError: A file is unreadable, or a tensor is missing, unexpected, of another shape than
                ``memaudit.json`` says, or not finite.
        """
        config, training = _read_config(folder / "memaudit.json")
        tokenizer = TrainedTokenizer.load(folder)
        if tokenizer.vocab_size != config["vocab_size"]:
            raise ModelError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, the model {config['vocab_size']}"
            )
        file = folder / "model.safetensors"
        try:
            # Copies: what load_file maps is not aligned, and sums then differ in the last bit.
            tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
        except (OSError, safetensors.SafetensorError) as error:
            raise ModelError(f"{file}: not weights: {error}") from error
        if config["layers"] > len(tensors):
            raise ModelError(f"{file}: {len(tensors)} tensors for {config['layers']} layers")
        # On the meta device nothing is allocated before the shapes are known to be those of the file.
        with torch.device("meta"):
            module = RecurrentNetwork(**config)
        _check_tensors(file, tensors, module.state_dict())
        module.load_state_dict(tensors, assign=True)
        return cls(tokenizer, module, config, training)

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """Tokens that the model is given before and behind every text."""
        start = self.tokenizer.bos_id
        return [] if start is None else [start], []

    def _started(self, text: TokenIds, prefix: int) -> TokenIds:
        """Return the text behind the start token; without one the first token has nothing before it."""
        if self.tokenizer.bos_id is not None:
            return np.concatenate([[self.tokenizer.bos_id], text]).astype(np.int32)
        if not prefix:
            raise ModelError("this tokenizer has no start token", "give every window a prefix")
        return text

    def _tensor(self, ids: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(ids).to(self.module.head.weight.device)

    def _stepper(self, decoding: Decoding) -> Step:
        """Return the step of a batch of equally long prompts; it keeps their states from call to call."""
        states: list[State] = []

        def step(texts: list[TokenIds], new: TokenIds | None) -> FloatArray:
            parts = []
            for number, first in enumerate(range(0, len(texts), BATCH_ROWS)):
                rows = slice(first, first + BATCH_ROWS)
                if new is None:
                    ids = np.stack([self._started(text, len(text)) for text in texts[rows]])
                    states.append(())
                else:
                    ids = new[rows][:, None]
                inputs = self._tensor(ids.astype(np.int64))
                hidden, states[number] = self.module(inputs, states[number] or None)
                parts.append(step_log_probs(self.module.head(hidden[:, -1]), decoding))
            return np.concatenate(parts)

        return step


def new_rnn(
    tokenizer: TrainedTokenizer,
    *,
    cell: Cell = "lstm",
    width: int = 256,
    layers: int = 1,
    embedding: int | None = None,
    seed: int = 0,
) -> RnnModel:
    """Return an untrained recurrent model.

    Args:
        tokenizer: Fixes the vocabulary.
        cell: ``lstm``, ``gru`` or ``mrnn``.
        width: Units of each recurrent layer.
        layers: Recurrent layers on top of each other.
        embedding: Length of a token's vector; ``width`` by default.
        seed: Fixes the initial weights.

    Raises:
        InputError: The cell is unknown or a size is not positive.
    """
    config: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "cell": cell,
        "width": width,
        "layers": layers,
        "embedding": width if embedding is None else embedding,
    }
    problem = _problem(config)
    if problem:
        raise InputError(problem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = RecurrentNetwork(**config)
    return RnnModel(tokenizer, module, config)


def load_rnn(folder: Path, about: Mapping[str, Any], device: str, dtype: str) -> RnnModel:  # noqa: ARG001
    """Load a recurrent model from its folder, as the table of families calls it."""
    return RnnModel.load(folder)


def _never(_suffix: AnyIds, _begun: AnyIds) -> bool:
    return False


def _problem(config: dict[str, Any]) -> str | None:
    """Return what is wrong with a configuration, or None."""
    if config["cell"] not in get_args(Cell):
        return f"unknown cell {config['cell']!r}: one of {', '.join(get_args(Cell))}"
    for name in ("vocab_size", "width", "layers", "embedding"):
        if type(config[name]) is not int or not 1 <= config[name] <= LARGEST_SIZE:
            return f"{name} must be a whole number from 1 to {LARGEST_SIZE}, not {config[name]!r}"
    return None


def _read_config(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        about = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(f"{file}: not a model description: {error}") from error
    if not isinstance(about, dict) or about.get("format") != 1 or about.get("family") != "rnn":
        raise ModelError(f"{file}: does not describe a recurrent model of format 1")
    config, training = about.get("config"), about.get("training", {})
    names = {"vocab_size", "cell", "width", "layers", "embedding"}
    if not isinstance(config, dict) or set(config) != names or not isinstance(training, dict):
        raise ModelError(f"{file}: config must have exactly {', '.join(sorted(names))}")
    problem = _problem(config)
    if problem:
        raise ModelError(f"{file}: {problem}")
    return config, training


def _check_tensors(file: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing:
        raise ModelError(f"{file}: {len(missing)} tensors missing, first: {missing[0]}")
    if unexpected:
        raise ModelError(f"{file}: {len(unexpected)} unexpected tensors, first: {unexpected[0]}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape or tensor.dtype != torch.float32:
            raise ModelError(
                f"{file}: tensor {name} is {tensor.dtype} {list(tensor.shape)}, "
                f"expected torch.float32 {list(expected[name].shape)}"
            )
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise ModelError(f"{file}: tensor {name} has {broken} non-finite values")


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Group indices of about equal lengths so that a padded group has at most `BATCH_TOKENS` tokens."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[i] <= BATCH_TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
