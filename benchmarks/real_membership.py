"""What the membership detectors say of models that nobody here made, about texts that they saw and that they did not.

``python benchmarks/real_membership.py DATA`` takes the folder of real inputs: three character LSTMs (ml5), one an
author, and what each was trained on. Each model is asked about each author's text, which only its own has seen, so
that a model that merely fits an author better must not pass for one that has read him. Nothing is timed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import Report
from safetensors.torch import load_file

from memaudit.audits.membership.run import membership
from memaudit.models.rnn import RecurrentNetwork, RnnModel
from memaudit.text.tokenize import character_tokenizer

AUTHORS = ("shakespeare", "charlotte_bronte", "darwin")
CHARACTERS = 1000
"""Of a document."""
TRAINED_ON = 0.9
"""Share of a text, from its beginning, that its own model is said to have been trained on."""
DOCUMENTS = 100
"""A side, drawn at random."""
PAGES = "other pages of the same part"
UNKNOWN_BIAS = -8.0
"""Logit of a character that a model does not know: it was never trained to expect one."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question to one model."""

    model: str
    suspect: str
    against: str
    """What the held-out documents are."""
    members: Sequence[str]
    unseen: Sequence[str]
    seen: bool
    """Whether the model has read the suspects, and not the held-out documents."""

    @property
    def what(self) -> str:
        return f"{self.model}'s model about {self.suspect}, against {self.against}"


def texts(data: Path) -> dict[str, str]:
    weights = data / "weights" / "ml5-charrnn"
    # As bytes: one of the texts has line ends of two characters, which its model has learnt.
    found = {name: gzip.decompress((weights / f"{name}.txt.gz").read_bytes()) for name in ("bronte", "darwin")}
    shakespeare = (data / "corpora" / "tinyshakespeare" / "input.txt").read_bytes()
    return {
        "shakespeare": shakespeare.decode(),
        "charlotte_bronte": found["bronte"].decode(),
        "darwin": found["darwin"].decode(),
    }


def convert(data: Path, author: str, folder: Path) -> Path:
    """Write a published model as a folder of this package, with one more symbol for characters it does not know."""
    source = data / "weights" / "ml5-charrnn"
    tokenizer = character_tokenizer(json.loads((source / f"{author}.vocab.json").read_text(encoding="utf-8")))
    weights = load_file(source / f"{author}.safetensors")
    size, width = weights["embed.weight"].shape
    config = {"vocab_size": size + 1, "cell": "lstm", "width": 128, "layers": 2, "embedding": width}
    module = RecurrentNetwork(**config)
    state = {key.replace("lstm.", "cells."): value for key, value in weights.items() if key.startswith("lstm.")}
    state["embedding.weight"] = torch.cat([weights["embed.weight"], torch.zeros(1, width)])
    state["head.weight"] = torch.cat([weights["out.weight"], torch.zeros(1, 128)])
    state["head.bias"] = torch.cat([weights["out.bias"], torch.tensor([UNKNOWN_BIAS])])
    module.load_state_dict(state)
    RnnModel(tokenizer, module, config).save(folder / author)
    return folder / author


def documents(text: str) -> list[str]:
    return [text[at : at + CHARACTERS] for at in range(0, len(text) - CHARACTERS + 1, CHARACTERS)]


def cases(data: Path) -> Iterator[Case]:
    """Yield every model's question about every author.

    Held out are the end of his text (other chapters: text alone may tell them apart), another author, and pages from
    among the suspects (nothing tells them apart, and no model has read one side only).
    """
    rng = random.Random(0)
    whole = texts(data)
    read = {author: documents(text[: int(TRAINED_ON * len(text))]) for author, text in whole.items()}
    ends = {author: documents(text[int(TRAINED_ON * len(text)) :]) for author, text in whole.items()}
    for number, suspect in enumerate(AUTHORS):
        other = AUTHORS[(number + 1) % len(AUTHORS)]
        pages = rng.sample(read[suspect], 2 * DOCUMENTS)
        members, between = pages[:DOCUMENTS], pages[DOCUMENTS:]
        end, others = (rng.sample(side, DOCUMENTS) for side in (ends[suspect], ends[other]))
        for model in AUTHORS:
            yield Case(model, suspect, "the end of the text", members, end, seen=model == suspect)
            yield Case(model, suspect, other, members, others, seen=model == suspect)
            yield Case(model, suspect, PAGES, members, between, seen=False)


def ask(case: Case, models: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Run the detectors as a user would, through files; the references are the other authors' models."""
    folder.mkdir()
    files = [folder / f"{name}.jsonl" for name in ("suspects", "heldout")]
    for file, side in zip(files, (case.members, case.unseen), strict=True):
        rows = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(side)]
        file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    references = tuple(str(models[name]) for name in AUTHORS if name != case.model)
    return membership(
        str(files[0]),
        str(models[case.model]),
        heldout=[str(files[1])],
        references=references,
        out=folder / "run",
        formats=(),
    ).report


def blind_auc(report: dict[str, Any]) -> dict[str, Any]:
    return max(report["blind"]["features"], key=lambda kind: kind["auc"]["low"])["auc"]


def row(case: Case, report: dict[str, Any]) -> str:
    """Return a row of the Markdown table."""
    shown = {d["name"]: d for d in report["detections"]}
    areas = [f"{d['name']} {d['effect']['estimate']:.3f}" for d in shown.values() if d["effect"]["name"] == "AUC"]
    null = next(c["detail"] for c in shown[report["primary"]]["controls"] if "C2" in c["name"])
    blind = f"{blind_auc(report)['estimate']:.3f} [{blind_auc(report)['low']:.3f}, {blind_auc(report)['high']:.3f}]"
    cells = [case.what, "yes" if case.seen else "no", ", ".join(areas), blind, null, report["verdict"]]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask published character models about their and other texts.")
    parser.add_argument("data", type=Path, help="folder of real inputs")
    options = parser.parse_args()
    heads = ["question", "seen", "AUC", "text alone", "null model", "verdict"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    table, fits, pages = Report("real_membership"), 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        models = {author: convert(options.data, author, Path(temporary)) for author in AUTHORS}
        for number, case in enumerate(cases(options.data)):
            report = ask(case, models, Path(temporary) / str(number))
            primary = next(d for d in report["detections"] if d["name"] == report["primary"])
            note = f"{report['verdict']}; text alone {blind_auc(report)['estimate']:.3f}; seen: {case.seen}"
            table.add(f"{case.what}: {report['primary']}", primary["effect"]["estimate"], unit="AUC", note=note)
            found = report["verdict"] == "found" and not case.seen
            fits, pages = fits + (found and case.against != PAGES), pages + (found and case.against == PAGES)
            lines.append(row(case, report))
    table.add("found where a model merely fits better, of 12", fits, unit="cases", goal=0, at_most=True)
    # At the level of .05, more than two of nine are less likely than one in a hundred.
    table.add("found between pages of one text, of 9", pages, unit="cases", goal=2, at_most=True)
    print("\n" + "\n".join(lines) + "\n", flush=True)
    table.finish()


if __name__ == "__main__":
    main()
