"""What a training more would give: five trainings of a small GPT and of a small LSTM, the same text and another seed.

Passages of the standard library, planted 1 to 12 times, are learnt by each network five times; every training is
audited on the same windows, and `memaudit compare` gives mean rate and AUC with an interval over seeds and documents.
Beside it stands how often that interval holds the truth in simulated audits, and those that a meta-analysis would give
(`replicates_coverage.py`).

python benchmarks/replicates.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from common import Report
from replicates_coverage import simulate

from memaudit import audit
from memaudit.report.compare import compare, render_comparison
from memaudit.text.planting.passages import library_passages
from memaudit.training.progress import SilentProgress
from memaudit.training.train import CorpusOptions, train_neural

SEEDS = (1, 2, 3, 4, 5)
DOCUMENTS, COPIES, TOKENS, VOCABULARY = 120, 12, 64, 1024
BACKGROUND = 240
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt": {"architecture": {"width": 64, "layers": 2, "heads": 4}, "epochs": 8.0, "context": 128},
    "rnn": {"architecture": {"width": 128}, "epochs": 3.0},
}


def write(path: Path, texts: list[str], name: str) -> str:
    """Write documents as JSON lines and return the path."""
    lines = [json.dumps({"id": f"{name}-{i}", "text": text}) for i, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def texts(folder: Path) -> dict[str, str]:
    """Write what is learnt (once, or many times), what is asked of it, and what no model saw."""
    passages = [p.text for p in library_passages(TOKENS, VOCABULARY)[: 2 * DOCUMENTS + BACKGROUND]]
    planted, heldout, rest = passages[:DOCUMENTS], passages[DOCUMENTS : 2 * DOCUMENTS], passages[2 * DOCUMENTS :]
    # From 1 copy to many: some are recited by every training, some by none, some by some.
    copies = [1 + i % COPIES for i in range(DOCUMENTS)]
    learnt = rest + [text for text, count in zip(planted, copies, strict=True) for _ in range(count)]
    sides = {"corpus": learnt, "train": planted, "heldout": heldout}
    return {name: write(folder / f"{name}.jsonl", some, name) for name, some in sides.items()}


def trained(family: str, corpus: str, folder: Path, seed: int) -> str:
    """Train one network and return its folder."""
    options = dict(FAMILIES[family])
    source = CorpusOptions([corpus], "bpe", VOCABULARY)
    train_neural(family, source, folder, seed=seed, progress=SilentProgress(), threads=1, **options)  # type: ignore[arg-type]
    return str(folder)


def main() -> None:
    """Train, audit, compare, simulate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three trainings and few simulated audits")
    quick = parser.parse_args().quick
    report = Report("replicates")
    with tempfile.TemporaryDirectory() as name:
        folder, started = Path(name), time.process_time()
        paths, runs = texts(folder), []
        for family in FAMILIES:
            for seed in SEEDS[:3] if quick else SEEDS:
                model = trained(family, paths["corpus"], folder / f"{family}-{seed}", seed)
                out = folder / f"run-{family}-{seed}"
                audit(
                    model,
                    train=paths["train"],
                    heldout=paths["heldout"],
                    out=out,
                    prefix=20,
                    suffix=20,
                    formats=[],
                    fuzzy=False,
                    copies=False,
                )
                runs.append(out)
                print(f"{family} {seed}: {time.process_time() - started:.0f} s")
        comparison = compare(runs)
        assert "Over trainings" in render_comparison(comparison)
        for contender in comparison.contenders:
            rate = contender.primary["train"]
            note = f"documents alone [{rate['low']:.3f}, {rate['high']:.3f}]"
            report.add(f"{contender.name}: training text recited", rate["rate"], unit="share", note=note)
        assert comparison.replicates is not None
        for row in comparison.replicates.rows:
            words, seeds, mean, limits, between, least, most = row
            note = f"[{limits[0]:.3f}, {limits[1]:.3f}], between seeds {between:.2f} points, {least:.3f} to {most:.3f}"  # type: ignore[index]
            report.add(f"{words}, over {seeds} seeds", float(mean), unit="mean", note=note)  # type: ignore[arg-type]
    simulate(report, 200 if quick else 2000)
    report.finish()


if __name__ == "__main__":
    main()
