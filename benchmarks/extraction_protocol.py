"""The training data extraction benchmark's own 1,000 windows, from one command: ``extraction_protocol.py DATA``.

DATA holds its ``val_prefix.npy`` and ``val_suffix.npy`` (50 + 50 GPT-2 tokens of the Pile) and GPT-2's vocabulary
(``gpt2_encoder.json.gz``, ``gpt2_vocab.bpe.gz``). An n-gram model and a small GPT are trained on every second
window; then ``memaudit audit MODEL --windows ... --heldout-windows ... --measure protocol`` is run as a user would,
and its figures are compared with a count by hand. A user with GPT-Neo's weights gives those instead.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Report
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from memaudit.models.ngram import NgramModel
from memaudit.models.transformer import new_gpt
from memaudit.text.tokenize import HuggingFaceTokenizer, TrainedTokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

COPIES = 20
END = "<|endoftext|>"
TRAINED = 250


def gpt2_pipeline(data: Path) -> Tokenizer:
    vocabulary = json.loads(gzip.decompress((data / "gpt2_encoder.json.gz").read_bytes()))
    lines = gzip.decompress((data / "gpt2_vocab.bpe.gz").read_bytes()).decode().splitlines()[1:]
    pipeline = Tokenizer(models.BPE(vocabulary, [tuple(line.split()) for line in lines if line]))
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    return pipeline


def write_sides(data: Path, folder: Path) -> tuple[list[np.ndarray[Any, Any]], list[str]]:
    """Write every second window as training and the others as held-out arrays; return the former and the flags."""
    prefixes, suffixes = np.load(data / "val_prefix.npy"), np.load(data / "val_suffix.npy")
    flags = []
    for flag, first in (("--windows", 0), ("--heldout-windows", 1)):
        names = [folder / f"{flag[2:]}-{part}.npy" for part in ("prefix", "suffix")]
        for name, rows in zip(names, (prefixes, suffixes), strict=True):
            np.save(name, rows[first::2][:TRAINED])
        flags += [flag, *map(str, names)]
    whole = np.concatenate([prefixes, suffixes], axis=1)[::2][:TRAINED].astype(np.int32)
    return list(whole), flags


def audited(folder: Path, model: Path, flags: list[str]) -> dict[str, Any]:
    run = folder / f"run-{model.name}"
    command = [
        sys.executable,
        "-m",
        "memaudit",
        "audit",
        str(model),
        *flags,
        "--allow-overlap",
        "--measure",
        "protocol",
        "--out",
        str(run),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(done.stderr)
    print(done.stdout)
    report: dict[str, Any] = json.loads((run / "report.json").read_bytes())
    return report


def main() -> None:
    data = Path(sys.argv[1])
    torch.set_num_threads(1)
    report = Report("extraction_protocol")
    tokenizer = TrainedTokenizer(gpt2_pipeline(data))
    end = {"bos_token": END, "eos_token": END}
    known = HuggingFaceTokenizer(PreTrainedTokenizerFast(tokenizer_object=gpt2_pipeline(data), **end))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        windows, flags = write_sides(data, folder)
        NgramModel.train(windows, tokenizer, order=8, smoothing="kneser-ney").save(folder / "ngram")
        gpt = new_gpt(known, style="llama", width=64, layers=2, context_length=101, seed=0)
        gpt.family = "llama"  # written as a plain Hugging Face folder, as a stranger's model would be
        options = TrainingOptions.for_family("gpt", context_length=101, epochs=float(COPIES), batch_size=8)
        fit(gpt, windows, options, out=folder / "gpt")
        for model in ("ngram", "gpt"):
            found = audited(folder, folder / model, flags)
            [section] = found["sections"]
            exact, recall = section["tables"][0]["rows"], dict(section["tables"][1]["rows"])
            primary = found["estimates"][0]
            report.add(
                f"{model}: exact match, windows it was trained on",
                exact[0][3],
                unit="of all",
                note=f"{exact[0][1]} of {exact[0][2]}",
            )
            report.add(
                f"{model}: exact match, other windows",
                exact[1][3],
                unit="of all",
                note=f"{exact[1][1]} of {exact[1][2]}",
            )
            report.add(f"{model}: recall at 100 errors", recall[100], unit="of all")
            same = primary["train"]["hits"] == exact[0][1] and primary["heldout"]["hits"] == exact[1][1]
            report.add(f"{model}: the verdict's hits are the protocol's", float(same), unit="", goal=1.0)
    report.finish()


if __name__ == "__main__":
    main()
