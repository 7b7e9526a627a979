"""Verdicts on windows of 50 + 50 tokens against two published tools' ways of scoring, in one run.

lm-extraction-benchmark (Google 2023) samples a continuation of every prefix, 32 at a time, and runs the model
over prefix and continuation again for its loss, from full logits; its baseline does so 100 times. The tool
that is called memaudit on the package index (0.2.0) continues one prompt at a time and compares strings; it is
run as it is, with its own code, in an interpreter of its own, named in MEMAUDIT_PEER_MEMAUDIT, or its row is
left out. A GPT-2 of 124M parameters, random weights, one thread, CPU seconds a window.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from common import Report

from memaudit.audits.extraction.windows import measure
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer

PEER = "MEMAUDIT_PEER_MEMAUDIT"
PREFIX = SUFFIX = 50
WINDOWS = 64
PEER_WINDOWS = 4
TRIALS = 100
GOAL = 10.0


def windows_of_text(model: CausalTransformer) -> list[Window]:
    ids = np.concatenate([e.ids for e in model.tokenizer.encode_batch(list(topics.values()))])
    size = PREFIX + SUFFIX
    rows = [ids[at : at + size] for at in range(0, WINDOWS * size, size)]
    return [Window(row[:PREFIX], row[PREFIX:], source=str(i)) for i, row in enumerate(rows)]


@torch.inference_mode()
def sampled_and_scored(model: CausalTransformer, windows: list[Window]) -> None:
    """Do what one trial of the benchmark's baseline does, batch by batch."""
    for first in range(0, len(windows), 32):
        prompts = torch.as_tensor(np.stack([w.prefix for w in windows[first : first + 32]]), dtype=torch.long)
        text = model.module.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_length=PREFIX + SUFFIX, min_length=PREFIX + SUFFIX,
            do_sample=True, top_k=10, top_p=1.0, pad_token_id=0,
        )  # fmt: skip
        logits = model.module(text).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), text[:, 1:].flatten())


def timed(work: Any, count: int) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) / count * 1e3


def one_by_one(model: CausalTransformer, folder: Path, windows: list[Window]) -> float | None:
    """Return milliseconds a window of the other tool's completion and flags, measured in its own process."""
    interpreter = os.environ.get(PEER)
    if not interpreter:
        print(f"memaudit 0.2.0: left out, {PEER} names no interpreter")
        return None
    model.module.save_pretrained(str(folder))
    model.tokenizer.save(folder)
    pairs = [[model.tokenizer.decode(w.prefix), model.tokenizer.decode(w.suffix)] for w in windows[:PEER_WINDOWS]]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    script = Path(__file__).with_name("extraction_peer.py")
    done = subprocess.run([interpreter, script, folder], capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        print(done.stderr[-500:], file=sys.stderr)
        return None
    return float(json.loads(done.stdout.splitlines()[-1])["ms"])


def main() -> None:
    torch.set_num_threads(1)
    report = Report("extraction_peers")
    tokenizer = train_tokenizer("bpe", list(topics.values()), 4096)
    model = new_gpt(tokenizer, width=768, layers=12, heads=12, context_length=PREFIX + SUFFIX + 16)
    windows = windows_of_text(model)
    measure(model, windows[:4], 0, fuzzy=False)
    ours = timed(lambda: measure(model, windows, 0, fuzzy=False), WINDOWS)
    report.add("memaudit: verdict, first difference, log-probability", ours, unit="ms/window")
    one_trial = timed(lambda: sampled_and_scored(model, windows), WINDOWS)
    report.add("lm-extraction-benchmark's way, one trial", one_trial, unit="ms/window")
    note = f"{TRIALS} trials, extrapolated from one"
    report.add("against lm-extraction-benchmark's baseline", TRIALS * one_trial / ours, goal=GOAL, note=note)
    report.add("against one trial of it", one_trial / ours)
    with tempfile.TemporaryDirectory() as folder:
        theirs = one_by_one(model, Path(folder), windows)
    if theirs is not None:
        report.add("memaudit 0.2.0 of the package index", theirs, unit="ms/window", note=f"{PEER_WINDOWS} windows")
        report.add("against memaudit 0.2.0 of the package index", theirs / ours, goal=GOAL)
    report.finish()


if __name__ == "__main__":
    main()
