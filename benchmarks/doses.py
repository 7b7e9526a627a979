"""The dose kit end to end: plant, train two sizes of a GPT, audit, and see whether the doses come out again.

``python benchmarks/doses.py`` needs no file: text is the library's, as in the demo. At 0 copies nothing may be found
beyond what is found in text from elsewhere; secrets that were never planted must have log2(e) bits of exposure.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import Report

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.models.loading.load import load_model
from memaudit.records import Document
from memaudit.stats import document_rate
from memaudit.text.planting.dose_kit import plant_corpus
from memaudit.text.planting.passages import library_passages
from memaudit.text.planting.planting import PlantOptions
from memaudit.text.windows.windows import WindowOptions, draw_windows
from memaudit.training.train import CorpusOptions, train_neural

VOCABULARY = 1024
BACKGROUND, FRESH = 300, 120
PLANTED = PlantOptions(doses=(1, 2, 4, 8, 16), per_dose=10, canaries=25, words=24, digits=5)
WINDOW = WindowOptions(prefix=20, suffix=20)
SIZES = {"small": 40, "large": 112}
"""Widths; the larger model has at least four times the parameters."""
EPOCHS = 5.0


def write(path: Path, documents: list[Document]) -> str:
    rows = [json.dumps({"id": d.id, "domain": d.domain, "text": d.text}) + "\n" for d in documents]
    path.write_text("".join(rows), encoding="utf-8")
    return str(path)


def measured(kit: Path, folder: Path, width: int, exposures: bool) -> tuple[int, dict[str, Any]]:
    """Train one size and return its parameters, the section of its doses.

    Ranking the secrets of canaries takes longest, so only one size does it.
    """
    source = CorpusOptions([str(kit / "training.jsonl")], "bpe", VOCABULARY)
    shape = {"width": width, "layers": 2}
    trained = train_neural("gpt", source, folder / "model", architecture=shape, batch_size=16, epochs=EPOCHS)
    sides = [str(kit / f"{side}.jsonl") for side in ("planted", "twins")]
    if not exposures:
        sides = [passages_of(Path(side), folder) for side in sides]
    options = AuditOptions(prefix=WINDOW.prefix, suffix=WINDOW.suffix, measures=("dose",), copies=False, fuzzy=False)
    run = audit(folder / "model", *sides, out=folder / "run", options=options, formats=[])
    return trained.model.parameters, run.report["sections"][0]


def passages_of(side: Path, folder: Path) -> str:
    lines = [line for line in side.read_text(encoding="utf-8").splitlines(keepends=True) if '"id": "passage' in line]
    (folder / side.name).write_text("".join(lines), encoding="utf-8")
    return str(folder / side.name)


def row_of(section: dict[str, Any], table: int, name: str) -> list[Any]:
    return next(row for row in section["tables"][table]["rows"] if row[0] == name)


def number(value: float | None) -> str:
    return "open" if value is None else f"{value:.3g}"


def fresh_rates(model: Path, kit: Path, fresh: list[Document]) -> Any:
    """Return the rate of text that is in no part of the kit."""
    loaded = load_model(str(model))
    twins = [json.loads(line) for line in (kit / "twins.jsonl").open()]
    others = [Document(t["id"], t["text"], t["id"], t["domain"]) for t in twins if t["kind"] == "passage"]
    windows = [w for w in draw_windows(others, fresh, loaded.tokenizer, WINDOW).windows if not w.member]
    hits = loaded.screen(windows) == WINDOW.suffix
    return document_rate(hits, [w.document for w in windows])


def exposures(report: Report, section: dict[str, Any]) -> None:
    rows = {row[1]: row for row in section["tables"][2]["rows"] if row[0] == "canaries, exact copies"}
    report.add("secrets never planted", rows[0][2], unit="canaries", goal=200)
    report.add("their mean exposure", rows[0][3], unit="bits", note=f"95% {rows[0][4]:.2f} to {rows[0][5]:.2f}")
    report.add("its distance from log2(e)", abs(rows[0][3] - math.log2(math.e)), unit="bits", goal=0.3, at_most=True)
    most = rows[max(rows)]
    report.add(f"mean exposure at {max(rows)} exact copies", most[3], unit="bits", note="8 at most")


def main() -> None:
    torch.set_num_threads(2)
    report, started = Report("doses"), time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        passages = library_passages(110, VOCABULARY)
        background = write(folder / "background.jsonl", passages[FRESH : FRESH + BACKGROUND])
        kit = plant_corpus([background], folder / "kit", options=PLANTED).folder
        found = {size: measured(kit, folder / size, width, size == "large") for size, width in SIZES.items()}
        fresh = fresh_rates(folder / "large" / "model", kit, passages[:FRESH])
    report.add("CPU time, all of it", time.process_time() - started, unit="s")
    ratio = found["large"][0] / found["small"][0]
    report.add("parameters, large / small", ratio, goal=4, note=f"{found['small'][0]:,} and {found['large'][0]:,}")
    ed50 = {}
    for size, (_, section) in found.items():
        zero = row_of(section, 0, "passages, exact copies")
        note = f"{zero[2]} twins; other text {fresh.rate:.3f} [{fresh.low:.3f}, {fresh.high:.3f}]"
        if size == "large":
            report.add("rate at dose 0, large", zero[4], unit="share", goal=fresh.high, at_most=True, note=note)
        for variant in ("exact", "fuzzy"):
            half = row_of(section, 1, f"passages, {variant} copies")
            ed50[size, variant] = half[3] if half[2] is None else half[2]  # a bound where there is no estimate
            limits = f"95% {number(half[3])} to {number(half[4])} {half[7]}"
            report.add(f"ED50, {variant} copies, {size}", ed50[size, variant], unit="copies", note=limits.strip())
            report.add(f"Spearman of copies and median log p_z, {variant}, {size}", half[6], unit="rho", goal=0.9)
            report.add(f"Spearman over documents, {variant}, {size}", half[5], unit="rho")
    fall = ed50["small", "exact"] / ed50["large", "exact"]
    report.add("ED50 small / large, exact copies", fall, goal=1.0001)
    exposures(report, found["large"][1])
    report.finish()


if __name__ == "__main__":
    main()
