"""One tool of others that reads a corpus from its own files: its CPU time, and what it flags.

Run with the interpreter that has the tool: ``PYTHON contamination_batch.py TOOL CORPUS BENCHMARK``. The tool is run as
its documents say, with its own settings and one worker, in processes of its own; it cannot be stopped half way. The
time of its start and its index is that of a run over the first document alone. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Found = dict[int, set[int]]
"""Numbers of the items that are named for each line of the corpus that is flagged; from 1."""
Tool = Callable[[Path, Path, Path], Found]

_DETECT = "import decon, sys; decon.detect(decon.Config(*sys.argv[1:], worker_threads=1))"
_FAILED = "Error processing"


def rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def call(*command: str | Path, **environment: str) -> str:
    """Run a command and return all that it says; ends this process if it fails."""
    merged = os.environ | environment
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=merged)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def decon(corpus: Path, benchmark: Path, folder: Path) -> Found:
    """Detect with decon: folders of files in, items as questions without answers, one report for a file."""
    training, evals, reports = (folder / name for name in ("training", "evals", "reports"))
    training.mkdir()
    evals.mkdir()
    shutil.copyfile(corpus, training / "corpus.jsonl")
    with (evals / "items.jsonl").open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows(benchmark), 1):
            fields = {"eval_key": "items", "doc_id": number, "eval_instance_index": number, "question": row["text"]}
            file.write(json.dumps(fields) + "\n")
    said = call(sys.executable, "-c", _DETECT, training, evals, reports)
    if _FAILED in said:  # it goes on without the file, and succeeds
        raise SystemExit(said)
    found: Found = {}
    for match in (match for file in reports.glob("*.jsonl") for match in rows(file)):
        found.setdefault(match["training_line"] + 1, set()).add(match["eval_instance_index"])
    return found


def corpus_assay(corpus: Path, benchmark: Path, folder: Path) -> Found:
    """Build an index and scan with corpus-assay; the corpus must have the number of its line as ``id``."""
    config, index, out = (folder / name for name in ("config.yaml", "items.native", "out"))
    files = {"dataset": "json", "data_files": {"test": str(benchmark)}, "splits": ["test"], "fields": ["text"]}
    config.write_text(json.dumps({"benchmarks": [{"name": "items", **files}]}), encoding="utf-8")  # JSON is YAML
    tool = (sys.executable, "-m", "corpus_assay")
    local = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
    call(*tool, "build-index", "--config", config, "--out-index", index, "--allow-unpinned", **local)
    # How many documents it names is a setting of the report, not of the verdict.
    named = ("--id-key", "id", "--max-return-records", str(len(rows(corpus))))
    where = ("--config", config, "--index", index, "--input", corpus, "--out-dir", out)
    said = call(*tool, "scan", *where, *named, "--workers", "1", **local)
    if json.loads((out / "_FINAL_SUMMARY.json").read_text(encoding="utf-8"))["failed_files"]:
        raise SystemExit(said)
    found: Found = {}
    for record in (record for file in out.glob("contaminated_docs/*.ndjson") for record in rows(file)):
        line = int(record["doc_id"].partition("-part-")[0])
        found.setdefault(line, set()).update(hit["item_id"] + 1 for hit in record["item_hits"])
    return found


TOOLS: dict[str, Tool] = {"decon": decon, "corpus-assay": corpus_assay}
DISTRIBUTIONS = {"decon": "decontaminate", "corpus-assay": "corpus-assay"}


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(tool: Tool, corpus: Path, benchmark: Path) -> tuple[float, Found]:
    before = cpu_of_children()
    with tempfile.TemporaryDirectory() as folder:
        found = tool(corpus, benchmark, Path(folder))
    return cpu_of_children() - before, found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one tool that reads whole files and list what it flags.")
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("benchmark", type=Path)
    options = parser.parse_args()
    tool, corpus, benchmark = TOOLS[options.tool], options.corpus.resolve(), options.benchmark.resolve()
    documents = [row["text"] for row in rows(corpus)]
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.jsonl"
        with corpus.open("rb") as lines:
            first.write_bytes(lines.readline())
        start, _ = measure(tool, first, benchmark)
    whole, found = measure(tool, corpus, benchmark)
    result = {
        "version": version(DISTRIBUTIONS[options.tool]),
        "setup": start,
        "seconds": whole - start,
        "whole": whole,
        "bytes": sum(len(text.encode()) for text in documents),
        "documents": len(documents),
        "level": "item",
        "items": sorted(set().union(*found.values())),
        "flagged": sorted(found),
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
