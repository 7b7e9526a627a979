"""How soon a bad record on line 250,000 of 300,000 is named, by every command that reads text.

Each command is a process of its own, as people start it, in CPU seconds with all its imports. The tokenizer of the
GPT is a BPE of 8,000 tokens in Python's hands, which reads some 2 MB a second: without a look ahead it would be asked
for all that stands in front of the bad record. What the check costs where all records are good is given too, in seconds
and as a share of the commands that do the least with a text.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow
from common import Report, cpu_seconds
from pyarrow import parquet

from memaudit import read_corpus

RECORDS, BAD, FEW = 300_000, 250_000, 1_000
WORDS = 60
GOAL = 5.0
"""CPU seconds."""
SHARE = 0.05
TAIL = b'"label": "a", "date": "2024-01-01", "m": 1, "c": 0}'
BROKEN: Mapping[str, bytes] = {
    "broken JSON": b'{"id": 1, "text": "no end',
    "no UTF-8": b'{"text": "caf\xe9", ' + TAIL,
    "no text": b'{"id": 1, ' + TAIL,
    "a number as text": b'{"text": 7, ' + TAIL,
    "half a character": b'{"text": "\\ud800", ' + TAIL,
    "a list as id": b'{"id": [], "text": "one two", ' + TAIL,
    "an id twice": b'{"id": 1, "text": "one two", ' + TAIL,
}
COMMANDS = {
    "index build": "index build BAD --out OUT",
    "index build, tokens": "index build BAD --unit token --tokenizer GPT --out OUT",
    "train ngram": "train ngram --corpus BAD --out OUT",
    "train rnn": "train rnn --corpus BAD --out OUT",
    "train gpt": "train gpt --corpus BAD --out OUT",
    "train bert": "train bert --corpus BAD --out OUT",
    "train gpt, held-out text": "train gpt --corpus GOOD --heldout BAD --out OUT",
    "audit of an n-gram": "audit NGRAM --train BAD --heldout FEW --out OUT",
    "audit of a GPT": "audit GPT --train BAD --heldout FEW --out OUT",
    "audit of a GPT, held-out text": "audit GPT --train GOOD --heldout BAD --out OUT",
    "audit of a GPT, both sides large": "audit GPT --train BAD --heldout GOOD --out OUT",
    "audit --membership, text for references": "audit GPT --train GOOD --heldout FEW --allow-overlap --membership"
    " --reference train --reference-corpus BAD --out OUT",
    "contamination": "contamination FEW --corpus BAD --out OUT",
    "contamination, the benchmark": "contamination BAD --corpus FEW --out OUT",
    "contamination --model, the benchmark": "contamination BAD --model GPT --out OUT",
    "contamination --model, held-out items": "contamination FEW --model GPT --heldout BAD --out OUT",
    "contamination --model, text for references": "contamination FEW --model GPT --heldout OTHER --reference train"
    " --reference-corpus BAD --out OUT",
    "plant": "plant BAD --out OUT",
    "plant, passages": "plant GOOD --passages BAD --out OUT",
    "laws": "laws --corpus BAD --out OUT",
    "counterfactual": "counterfactual --corpus BAD --out OUT",
    "exploitation": "exploitation BERT --train BAD --seen FEW --unseen FEW --out OUT",
    "gap": "gap BAD --model m --control c --cutoff 2024-06-01 --out OUT",
}
"""What stands in capitals is a file or folder of this benchmark."""
KINDS_BY = "audit of a GPT"
"""The command by which all kinds of bad records are tried."""


def write_records(path: Path, count: int, seed: int, bad: bytes | None = None) -> Path:
    rng = np.random.default_rng(seed)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    lexicon = np.array([letters[rng.integers(0, 26, n)].tobytes().decode() for n in rng.integers(2, 10, 20_000)])
    with path.open("wb") as file:
        for line in range(1, count + 1):
            if line == BAD and bad is not None:
                file.write(bad + b"\n")
                continue
            text = " ".join(lexicon[np.minimum(rng.zipf(1.3, WORDS), len(lexicon)) - 1])
            label = b'"b"' if line % 2 else b'"a"'
            head = json.dumps({"id": line, "text": text})[:-1].encode()
            file.write(head + b", " + TAIL.replace(b'"a"', label) + b"\n")
    return path


def command_seconds(arguments: str, files: Mapping[str, Path], folder: Path) -> tuple[float, int, str]:
    """Return CPU seconds, exit code and messages of a command in a process of its own."""
    out = tempfile.mkdtemp(dir=folder)
    names = {**{name: str(path) for name, path in files.items()}, "OUT": f"{out}/out"}
    words = [names.get(word, word) for word in arguments.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "memaudit", *words], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, done.returncode, done.stderr


def make_files(folder: Path) -> dict[str, Path]:
    files = {
        "BAD": write_records(folder / "bad.jsonl", RECORDS, 1, BROKEN["broken JSON"]),
        "GOOD": write_records(folder / "good.jsonl", RECORDS, 1),
        "FEW": write_records(folder / "few.jsonl", FEW, 2),
        "OTHER": write_records(folder / "other.jsonl", FEW, 3),
    }
    small = "--vocab-size 8000 --width 32 --layers 1 --heads 1 --context 128 --epochs 0.01"
    models = {"NGRAM": "ngram --unit byte", "GPT": f"gpt {small}", "BERT": f"bert {small}"}
    for name, how in models.items():
        files[name] = folder / name.lower()
        command = f"train {how} --corpus FEW --out {files[name]}"
        _, code, said = command_seconds(command, files, folder)
        if code:
            raise RuntimeError(f"{command}: {said}")
    return files


def name_bad_records(report: Report, files: Mapping[str, Path], folder: Path) -> None:
    command_seconds(COMMANDS["contamination"], files, folder)  # compiles the kernels, once after installation
    named = 0
    for what, arguments in COMMANDS.items():
        seconds, code, said = command_seconds(arguments, files, folder)
        named += code == 2 and f"bad.jsonl:{BAD}: not valid JSON" in said
        note = "" if code == 2 else f"exit code {code}: {said[-200:]}"
        report.add(f"{what}: broken JSON", seconds, unit="CPU s", goal=GOAL, at_most=True, note=note)
    report.add("commands that name file and line", named / len(COMMANDS), unit="of all", goal=1.0)
    named = 0
    for kind, record in BROKEN.items():
        bad = write_records(folder / "bad.jsonl", RECORDS, 1, record)
        seconds, code, said = command_seconds(COMMANDS[KINDS_BY], {**files, "BAD": bad}, folder)
        named += code == 2 and f"bad.jsonl:{BAD}: " in said
        report.add(f"{KINDS_BY}: {kind}", seconds, unit="CPU s", goal=GOAL, at_most=True)
    report.add("kinds of bad records that are named", named / len(BROKEN), unit="of all", goal=1.0)


def weigh_check(report: Report, files: Mapping[str, Path], folder: Path) -> None:
    def check(path: Path) -> None:
        read_corpus([str(path)]).check()

    seconds = {}
    for name, path in {".jsonl": files["GOOD"], **in_other_formats(files["GOOD"])}.items():
        seconds[name] = cpu_seconds(lambda path=path: check(path))  # type: ignore[misc]
        report.add(f"checking 300,000 good records, {name}", seconds[name], unit="CPU s")
    for command in ("index build", "train ngram"):
        whole, code, said = command_seconds(COMMANDS[command].replace("BAD", "GOOD"), files, folder)
        if code:
            raise RuntimeError(f"{command}: {said}")
        report.add(f"{command}: 300,000 good records", whole, unit="CPU s")
        report.add(f"{command}: the check", seconds[".jsonl"] / whole, unit="of all", goal=SHARE, at_most=True)


def in_other_formats(path: Path) -> dict[str, Path]:
    """Write the texts of a file as CSV, Parquet, compressed JSON lines and plain text."""
    texts = [document.text for document in read_corpus([str(path)])]
    found = {ending: path.with_name(f"good{ending}") for ending in (".csv", ".parquet", ".jsonl.gz", ".txt")}
    found[".csv"].write_text("text\n" + "\n".join(texts) + "\n")
    parquet.write_table(pyarrow.table({"text": texts}), found[".parquet"])
    found[".jsonl.gz"].write_bytes(gzip.compress(path.read_bytes(), 6))
    found[".txt"].write_text("\n\n".join(texts) + "\n")
    return found


def main() -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    report = Report("bad_record")
    with tempfile.TemporaryDirectory() as name:
        files = make_files(Path(name))
        name_bad_records(report, files, Path(name))
        weigh_check(report, files, Path(name))
    report.finish()


if __name__ == "__main__":
    main()
