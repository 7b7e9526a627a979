"""Published predictions of real models on the test split of GSM8K (Xu et al. 2024), scored again, row by row.

Exact matches, edit similarities and starts equal the published ones in every row. ROUGE-L does where both sides mean
the same by a word; other rows are counted by what explains them, as `tests/audits/test_overlap_exhibit.py` checks.

python benchmarks/overlap_exhibit.py
"""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from common import Report

from memaudit.metrics.fuzzy import edit_similarity, rouge_l_text
from memaudit.metrics.overlap import GRAM, gram_starts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data" / "exhibits" / "real-llm-ngram-predictions"

CLOSE = 0.75
"""Edit similarity and ROUGE-L above which their code calls a prediction right (0.9 in their description)."""


def main() -> None:
    from tests.audits.test_overlap_exhibit import EXACT

    report = Report("overlap_exhibit")
    for model, (hits, rate) in EXACT.items():
        with gzip.open(DATA / f"5gram-{model}-GSM8K-test.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        score(report, model, rows, hits, rate)
    report.finish()


def score(report: Report, model: str, rows: list[dict[str, Any]], hits: int, rate: str) -> None:
    from tests.audits.test_overlap_exhibit import ITEMS, kind_of_difference

    def share(what: str, count: int, note: str = "") -> None:
        report.add(f"{model}: {what}", 100 * count / len(rows), unit="%", note=note or f"{count:,} of {len(rows):,}")

    def equal(what: str, count: int, of: int, note: str) -> None:
        report.add(f"{model}: {what}", count, unit=f"of {of:,}", goal=of, note=note)

    exact = [row["predicted"] == row["original"] for row in rows]
    share("predictions exact", sum(exact), f"{sum(exact):,} of {len(rows):,}; published {hits:,}, {rate}")
    equal("rows whose exact match is the published", sum(a == b["exact"] for a, b in zip(exact, rows, strict=True)),
          len(rows), "equal texts")  # fmt: skip
    places: dict[int, list[int]] = {}
    for row in rows:
        places.setdefault(row["idx"], []).append(row["start"])
    equal("items whose starts are the published", sum(gram_starts(p[-1] + GRAM) == p for p in places.values()), ITEMS,
          "tokens 2 to length - 5")  # fmt: skip
    similar = [edit_similarity(row["predicted"], row["original"]) or 0.0 for row in rows]
    same = [math.isclose(a, row["edit_similarity"], abs_tol=1e-12) for a, row in zip(similar, rows, strict=True)]
    equal("rows whose edit similarity is the published", sum(same), len(rows), "of characters, over the longer length")
    share(f"edit similarity above {CLOSE}", sum(value > CLOSE for value in similar))
    kinds = Counter(map(kind_of_difference, rows))
    equal("rows whose ROUGE-L is the published or explained", kinds.total(), len(rows), "each checked in its row")
    for kind, count in kinds.most_common():
        share(f"ROUGE-L, {kind}", count)
    rouge = [rouge_l_text(row["original"], row["predicted"]) or 0.0 for row in rows]
    published = math.fsum(row["rouge"] for row in rows) / len(rows)
    report.add(
        f"{model}: mean ROUGE-L", math.fsum(rouge) / len(rows), unit="", note=f"published, stemmed: {published:.4f}"
    )


if __name__ == "__main__":
    main()
