"""How long a page of 10,000 windows takes, and how large it is: text of every script, cut from what Python carries.

Runs are made here and not measured, so that the benchmark needs no model: the records are those of a model that
recites a tenth of its training text and edits another tenth of it.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from common import Report

from memaudit.audits.extraction.conclude import conclude
from memaudit.audits.extraction.options import AuditOptions
from memaudit.records import Shown, WindowRecord
from memaudit.report.formats import writers
from memaudit.report.formats.names import FORMATS
from memaudit.runs.directory import RunDirectory
from memaudit.runs.options import AuditOptions as StoredOptions
from memaudit.runs.plans import ExtractionPlan
from memaudit.runs.schema import as_record
from memaudit.text.planting.passages import library_passages

WINDOWS = 10_000
TOKENS = 50
GOAL_SECONDS, GOAL_BYTES, GOAL_DEFAULT = 30.0, 2_000_000, 400_000


def records(count: int, seed: int = 0) -> list[WindowRecord]:
    """Return windows of a model with a good memory, half of them held out; each document has two."""
    lot = random.Random(seed)
    texts = [" ".join(document.text.split()) for document in library_passages(120, 1024)]
    made = []
    for index in range(count):
        text = lot.choice(texts)
        at = lot.randrange(max(1, len(text) - 400))
        prefix, suffix = text[at : at + 200], text[at + 200 : at + 400]
        member, luck = index < count // 2, lot.random()
        recited, edited = member and luck < 0.1, member and 0.1 <= luck < 0.2
        other = lot.choice(texts)[:200]
        said = suffix if recited else suffix.replace(" the ", " a ") if edited else other
        matched = TOKENS if recited else lot.randrange(20, TOKENS) if edited else lot.randrange(4)
        similarity = 1.0 if recited else 0.95 if edited else 0.1 * lot.random()
        made.append(
            WindowRecord(
                index=index,
                member=member,
                document=f"{'train' if member else 'heldout'}-{index // 2}",
                source=f"corpus/{'train' if member else 'heldout'}.jsonl:{index // 2 + 1}",
                domain=("web", "code", "books", "news", "law")[index % 5],
                copies=None,
                start=TOKENS * (index % 2),
                prefix_ids=[lot.randrange(1024) for _ in range(TOKENS)],
                suffix_ids=[lot.randrange(1024) for _ in range(TOKENS)],
                prefix_text=prefix,
                suffix_text=suffix,
                log_prob=-2.0 * (TOKENS + 1 - matched),
                matched=matched,
                extractable=recited,
                extraction_strength=matched / TOKENS,
                continuation_ids=[1] * TOKENS,
                continuation_text=said,
                longest_common=matched,
                edit_similarity=similarity,
                edit_similarity_text=similarity,
                rouge_l=similarity,
                rouge_l_text=similarity,
                bleu=similarity,
                copies_normalised=lot.choice((1, 1, 2, 5, 40)) if member else 0,
                copies_exact=1 if member else 0,
            )
        )
    return made


def plan(made: list[WindowRecord]) -> ExtractionPlan:
    """Return the plan of a run over these windows."""
    side = {
        "specs": ["corpus/train.jsonl"],
        "files": [{"path": "corpus/train.jsonl", "sha256": "ab" * 32, "bytes": 10**8}],
        "documents": len(made) // 4,
        "empty": 0,
        "units": "one record a document",
        "domains": dict.fromkeys(("web", "code", "books", "news", "law"), len(made) // 20),
    }
    half = len(made) // 2
    windows = {"train": half, "heldout": half, "train_documents": half // 2, "heldout_documents": half // 2}
    return {
        "schema_version": 1,
        "kind": "extraction",
        "model": {
            **{"name": "models/good-memory", "family": "gpt", "objective": "next-token", "parameters": 124_000_000},
            **{"context_length": 1024, "sha256": "01" * 32, "tokenizer_sha256": "23" * 32, "vocabulary": 1024},
            **{"device": "cpu", "dtype": "float32", "ignored": [], "self_test": [-1.0], "files": []},
            **{"attention": None, "start_token": None, "end_tokens": []},
        },
        "train": side,
        "heldout": {**side, "specs": ["corpus/heldout.jsonl"]},
        "options": as_record(AuditOptions(prefix=TOKENS, suffix=TOKENS, limit=half), StoredOptions),
        "windows": windows | {"matching": "matched", "set_aside": [], "overlaps": [], "sha256": "45" * 32},
        "copies": {"counted": True, "reason": None, "index": None},
        "measures": [],
        "block_size": 64,
        "controls": [],
        "versions": {"memaudit": "0"},
        "identity": "67" * 32,
        "command": "memaudit audit models/good-memory --train corpus/train.jsonl --heldout corpus/heldout.jsonl",
    }


def main() -> None:
    report = Report("report")
    made = records(WINDOWS)
    started = time.perf_counter()
    concluded = conclude(plan(made), made)
    report.add(f"evidence of {WINDOWS:,} windows", time.perf_counter() - started, unit="s")
    with tempfile.TemporaryDirectory() as name:
        for shown, how in ((Shown(), "texts shown"), (Shown(text=False), "texts withheld")):
            folder = Path(name) / how.replace(" ", "-")
            with RunDirectory.open(folder, {"command": "memaudit audit"}) as run:
                run.append([{name: getattr(r, name) for name in WindowRecord.__slots__} for r in made])
                run.finish(concluded)
            for form in FORMATS.builtin if shown.text else ("html",):
                started = time.perf_counter()
                path = writers([form], shown=shown)[0](folder)
                seconds, size = time.perf_counter() - started, path.stat().st_size
                goal = {"html": GOAL_SECONDS}.get(form)
                report.add(f"{form}, {how}: read and rendered", seconds, unit="s", goal=goal, at_most=True)
                limit = GOAL_BYTES if form == "html" else None
                report.add(f"{form}, {how}: size", size, unit="bytes", goal=limit, at_most=True)
                if form == "html":
                    again = path.read_bytes()
                    same = writers([form], shown=shown)[0](folder).read_bytes() == again
                    report.add(f"{form}, {how}: the same bytes again", same, unit="1 = yes", goal=1.0)
                    report.add(f"{form}, {how}: exhibits", again.count(b"<article"), unit="exhibits", goal=200)
                    report.add(f"{form}, {how}: default size", size, unit="bytes", goal=GOAL_DEFAULT, at_most=True)
    report.finish()


if __name__ == "__main__":
    main()
