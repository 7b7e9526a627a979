"""Training rate of recurrent networks: our loop beside a bare loop around torch's own ``nn.LSTM``."""

from __future__ import annotations

import numpy as np
import torch
from common import Report, interleaved
from torch import nn

from memaudit.models.rnn import Cell, new_rnn
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

WIDTH, ROWS, LENGTH, STEPS, RATE = 256, 16, 64, 30, 6e-3
TOKENS = ROWS * LENGTH * STEPS


class BareLstm(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, vocab_size)


def bare_loop(vocab_size: int) -> None:
    """What one writes by hand: no shuffling, no clipping, no schedule, no checks, no progress."""
    model = BareLstm(vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    text = torch.randint(3, vocab_size, (STEPS, ROWS, LENGTH + 1))
    for step in range(STEPS):
        hidden, _ = model.lstm(model.embedding(text[step, :, :-1]))
        loss = nn.functional.cross_entropy(model.head(hidden).flatten(0, 1), text[step, :, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    torch.set_num_threads(1)
    report = Report("rnn")
    text = " ".join(f"{number:b}"[::-1] + chr(97 + number % 26) * 3 for number in range(40_000))
    tokenizer = train_tokenizer("bpe", [text], 1024)
    size = tokenizer.vocab_size
    random = np.random.default_rng(0)
    documents = [random.integers(3, size, 255).astype(np.int32) for _ in range(TOKENS // 256)]

    def ours(cell: Cell, optimizer: str = "adamw") -> None:
        options = TrainingOptions.for_family(
            "rnn", optimizer=optimizer, batch_size=ROWS, context_length=LENGTH, learning_rate=RATE
        )
        fit(new_rnn(tokenizer, cell=cell, width=WIDTH), documents, options)

    times = interleaved(
        {
            "bare nn.LSTM": lambda: bare_loop(size),
            "lstm": lambda: ours("lstm"),
            "lstm with Muon": lambda: ours("lstm", "muon"),
            "gru": lambda: ours("gru"),
            "mrnn": lambda: ours("mrnn"),
        },
        repeats=5,
    )
    for name, seconds in times.items():
        report.add(f"{name} {WIDTH}x1, V={size}, batch {ROWS}", TOKENS / seconds, unit="tokens/s")
    report.add("our loop / bare nn.LSTM loop", times["bare nn.LSTM"] / times["lstm"], goal=0.9)
    for name in ("lstm with Muon", "gru", "mrnn"):
        report.add(f"{name} / bare nn.LSTM loop", times["bare nn.LSTM"] / times[name])
    report.finish()


if __name__ == "__main__":
    main()
