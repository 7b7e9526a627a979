"""Every language model that transformers knows, built tiny by its configuration: is it read as transformers reads it?

Families that cannot be built from small sizes alone are named. Every kind of model that transformers knows is given as
a folder with the shortest configuration there is and no weights of its own: it must be refused in one line.

python benchmarks/zoo.py [FAMILY...]
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import RESULTS, Report

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FILE, PAGE = RESULTS / "zoo.json", ROOT / "docs" / "models.md"
MARKS = "<!-- zoo: written by benchmarks/zoo.py -->\n", "<!-- end of zoo -->\n"
KINDS = {
    "next-token": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "sees or hears": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES|MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES|"
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
}
LIMIT = 1e-5
"""Nats by which a score may differ from that of transformers."""


def main(wanted: list[str]) -> None:
    """Try all of them; or again those that are named, which take the place of what was found before."""
    import transformers

    warnings.simplefilter("ignore")
    release = transformers.__version__
    before = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
    known = {(row["kind"], row["family"]): row for row in before.get("releases", {}).get(release, [])}
    rows = [_tried(*one) if not wanted or one[1] in wanted or one not in known else known[one] for one in families()]
    strangers = [_stranger(family) for family in all_kinds() if not wanted or family in wanted]
    releases = before.get("releases", {}) | {release: rows}
    if release == max(releases, key=_order):
        report = figures(rows, strangers)
        if not wanted:
            report.save()
            before = json.loads(FILE.read_text("utf-8"))
    FILE.write_text(stored(before | {"releases": releases}), encoding="utf-8")
    text = PAGE.read_text("utf-8")
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    PAGE.write_text(text[:start] + table(releases) + text[end:], encoding="utf-8")
    faults = [row["family"] for row in rows + strangers if row["outcome"] == "fault"]
    sys.exit(f"internal errors: {', '.join(faults)}" if faults else 0)


def figures(rows: list[dict[str, Any]], strangers: list[dict[str, Any]]) -> Report:
    """Return the counts of a run."""
    report = Report("zoo")
    read = [row for row in rows if row["outcome"] == "read"]
    exact = [row for row in read if row["exact"]]
    report.add("families read", len(read), unit="families", goal=40)
    report.add("of these exact", len(exact), unit="families")
    report.add("largest difference of a score, exact ones", max(r["difference"] for r in exact), unit="nats",
               goal=LIMIT, at_most=True)  # fmt: skip
    for outcome in ("refused", "not built"):
        report.add(f"families {outcome}", sum(row["outcome"] == outcome for row in rows), unit="families")
    refused = sum(row["outcome"] == "refused" for row in strangers)
    report.add("kinds of model whose shortest configuration is refused in one line", refused, unit="kinds")
    faults = sum(row["outcome"] == "fault" for row in rows + strangers)
    report.add("internal errors", faults, unit="kinds", goal=0, at_most=True)
    return report


def stored(content: dict[str, Any]) -> str:
    """Return the results as JSON, a line for every family."""
    releases = {release: [json.dumps(row) for row in rows] for release, rows in sorted(content["releases"].items())}
    text = json.dumps(content | {"releases": {release: f"@{release}" for release in releases}}, indent=2)
    for release, lines in releases.items():
        text = text.replace(f'"@{release}"', "[\n      " + ",\n      ".join(lines) + "\n    ]")
    return text + "\n"


def families() -> Iterator[tuple[str, str]]:
    """Yield what can be a language model, each with its kind."""
    from transformers.models.auto import modeling_auto

    seen = set()
    for kind, names in reversed(KINDS.items()):
        for name in names.split("|"):
            for family in getattr(modeling_auto, name, {}):
                if (kind == "masked", family) not in seen:
                    seen.add((kind == "masked", family))
                    yield kind, family


def table(releases: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of the page: for each release of transformers what is read, and what is not, and why."""
    lines = []
    for release in sorted(releases, key=_order, reverse=True):
        rows = releases[release]
        read = [row for row in rows if row["outcome"] == "read"]
        worst = max(row["difference"] for row in read if row["exact"])
        lines += [f"transformers {release}: {sum(r['exact'] for r in read)} of {len(read)} families that are read are "
                  f"exact (largest difference {worst:.1e}).", "", "| | families |", "|---|---|"]  # fmt: skip
        for kind in KINDS:
            names = [row["family"] for row in read if row["kind"] == kind and row["exact"]]
            lines.append(f"| {kind}: exact ({len(names)}) | {_names(names)} |")
        cached = [row["family"] for row in read if not row["exact"] and row["difference"] <= LIMIT]
        wrong = [f"{row['family']} ({row['difference']:.0e})" for row in read if row["difference"] > LIMIT]
        lines += [f"| scores exact, but a cache decodes otherwise | {_names(cached)} |"] if cached else []
        lines += [f"| **not exact** (largest difference) | {_names(wrong)} |"] if wrong else []
        reasons: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row["outcome"] == "refused" and not _misshapen(row):
                reasons[_reason(row["reason"])].append(row["family"])
        lines += [f"| refused: {reason} | {_names(names)} |" for reason, names in sorted(reasons.items())]
        left = [row["family"] for row in rows if row["outcome"] == "not built" or _misshapen(row)]
        lines += [f"| not tried: small sizes alone do not make one | {_names(left)} |", ""]
    return "\n".join(lines)


def _misshapen(row: dict[str, Any]) -> bool:
    """Return whether a module was built that does not run: its small sizes do not go together."""
    asks = "pixel|image|input_features|audio|language|positional argument|inputs_embeds"
    return "does not read text alone" in row.get("reason", "") and not re.search(asks, row["reason"])


def _names(names: Any) -> str:
    return ", ".join(sorted(set(names)))


def _reason(message: str) -> str:
    for known in ("has an encoder and a decoder", "predicts a token from the tokens after it", "no embedding of tokens",
                  "does not read text alone", "tensors missing"):  # fmt: skip
        if known in message:
            return known
    return "another reason"


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:3] if part.isdigit())


def _tried(kind: str, family: str) -> dict[str, Any]:
    from tests.models.zoo import read_back

    row: dict[str, Any] = {"family": family, "kind": kind}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read_back(family, Path(folder), kind == "masked")
        except Exception as error:
            saved = (Path(folder) / "tokenizer.json").is_file()  # written once a module is built and saved
            row |= {"outcome": "fault" if saved else "not built", "reason": " ".join(str(error).split())[:200]}
        else:
            row["class"] = found.class_name
            if found.refused:
                row |= {"outcome": "refused", "reason": found.refused[:200]}
            else:
                row |= {"outcome": "read", "exact": found.exact, "difference": found.difference,
                        "ranks": found.ranks, "greedy": found.greedy, "unread": list(found.unread)}  # fmt: skip
    print(kind, family, row["outcome"], row.get("exact", row.get("reason")), flush=True)
    return row


def all_kinds() -> list[str]:
    """Return every kind of model that transformers knows."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return sorted(CONFIG_MAPPING)


def _stranger(family: str) -> dict[str, Any]:
    """Give a folder with the shortest configuration of a kind of model."""
    import torch
    from safetensors.torch import save_file

    from memaudit.errors import MemauditError
    from memaudit.models.loading.load import load_model

    row = {"family": family, "outcome": "fault", "reason": "read"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
        save_file({"weight": torch.ones(2)}, folder / "model.safetensors")
        try:
            load_model(name)
        except MemauditError as error:
            row |= {"outcome": "refused", "reason": str(error).replace(name, "")[:200]}
        except Exception as error:
            row["reason"] = f"{type(error).__name__}: {error}"[:200]
    if row["outcome"] == "fault":
        print(family, row, flush=True)
    return row


if __name__ == "__main__":
    main(sys.argv[1:])
