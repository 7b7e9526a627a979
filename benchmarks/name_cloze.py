"""Published name-cloze answers scored again: the accuracy of every book against the published table.

``python benchmarks/name_cloze.py EXHIBIT`` with a folder of ``gpt4_name_cloze.jsonl.gz`` (answers of GPT-4 and the true
names) and ``published_top100.csv`` (Chang et al. 2023). The table has two more models, of which there are no answers.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

from common import Report

from memaudit.metrics.cloze import cloze_accuracy

SUBTITLES = {"moby_dick_or_the_whale": "moby_dick"}
"""Titles of the table whose file of answers leaves the subtitle out."""


def key(title: str) -> str:
    """Return a title as the answers name it: small words, without an article before them."""
    plain = title.casefold().replace("-", "").replace("'", "").replace("_", " ")
    name = re.sub(r"^the_", "", "_".join(re.findall(r"\w+", plain)))
    return SUBTITLES.get(name, name)


def main(exhibit: Path) -> None:
    with (exhibit / "published_top100.csv").open(newline="", encoding="utf-8") as file:
        published = {key(row["title"]): row for row in csv.DictReader(file)}
    answers: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    with gzip.open(exhibit / "gpt4_name_cloze.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            answers[key(row["book"])].append((row["predicted"], row["gold"]))
    report = Report("name_cloze")
    equal, with_case = 0, 0
    listed = [book for book in published if book in answers]
    for book in listed:
        said, names = zip(*answers[book], strict=True)
        accuracy, goal = cloze_accuracy(said, names) or 0.0, published[book]["gpt4_accuracy"]
        same_case = sum(a.strip() == b.strip() for a, b in answers[book]) / len(said)
        equal += f"{accuracy:.2f}" == goal
        with_case += f"{same_case:.2f}" == goal
        verdict = "equal" if f"{accuracy:.2f}" == goal else "DIFFERS"
        report.add(
            published[book]["title"], accuracy, unit="", note=f"published {goal}, {verdict}; of {len(said)} passages"
        )
    others = [cloze_accuracy(*zip(*answers[book], strict=True)) or 0.0 for book in answers if book not in published]
    report.add("books in the table and among the answers", len(listed), unit="books")
    report.add("of them equal to two decimals, case aside", equal, unit="books", goal=len(listed))
    report.add("equal if capitals had to be right too", with_case, unit="books", note="not the published rule")
    report.add("best of the books that the table leaves out", max(others), unit="", goal=0.09, at_most=True)
    report.finish()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/name_cloze.py EXHIBIT")
    main(Path(sys.argv[1]))
