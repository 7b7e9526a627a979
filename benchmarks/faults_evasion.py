"""Does the gate find passages that were disguised, and leave clean text of other scripts alone?

python benchmarks/faults_evasion.py [--passages 1000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from common import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.disguises import ALPHABETS, ANY_SCRIPT, EVERY, clean_texts, found_items, hidden_in, passages

FEW = 200
"""Passages of each script that are disguised in every way."""


def main() -> None:
    """Run the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=1000)
    count = parser.parse_args().passages
    texts = passages(2 * count)
    items, decoys = texts[:count], texts[count:]
    report = Report("faults_evasion")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = [hidden_in(text, i) for i, text in enumerate(items)]
        found = found_items(items, plain, folder / "plain")
        false = found_items(decoys, plain, folder / "plain-decoys")
        report.add("undisguised: found", 100 * found / count, unit="%", goal=99)
        report.add("undisguised: decoys found, which repeat other passages", 100 * false / count, unit="%")
        for number, (disguise, change) in enumerate(EVERY.items()):
            corpus = [hidden_in(change(text), i) for i, text in enumerate(items)]
            share = 100 * found_items(items, corpus, folder / f"{number}") / found
            more = 100 * (found_items(decoys, corpus, folder / f"{number}-decoys") - false) / count
            report.add(f"{disguise}: found, of the undisguised", share, unit="%", goal=99)
            report.add(f"{disguise}: decoys found beyond the undisguised", more, unit="points", goal=0.1, at_most=True)
        for script in ALPHABETS:
            clean = clean_texts(script, count, seed=1)
            wrong = found_items(clean, clean_texts(script, 3 * count, seed=2), folder / script)
            report.add(f"{script}: clean items found", 100 * wrong / count, unit="%", goal=0.1, at_most=True)
            name, share, plain = worst_disguise(clean[:FEW], folder / f"{script}-disguised")
            report.add(f"{script}: found under the worst of {len(ANY_SCRIPT)} disguises, of the undisguised",
                       100 * share, unit="%", goal=99, note=f"{name}; {plain} passages")  # fmt: skip
    report.finish()


def worst_disguise(texts: list[str], folder: Path) -> tuple[str, float, int]:
    """Return the disguise under which fewest passages are found, the share found, and how many are found without."""
    plain = found_items(texts, [hidden_in(text, i) for i, text in enumerate(texts)], folder / "plain")
    shares = {}
    for number, name in enumerate(ANY_SCRIPT):
        corpus = [hidden_in(EVERY[name](text), i) for i, text in enumerate(texts)]
        shares[name] = found_items(texts, corpus, folder / str(number)) / plain
    name = min(shares, key=lambda name: shares[name])
    return name, shares[name], plain


if __name__ == "__main__":
    main()
