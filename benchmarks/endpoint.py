"""Does a server say of a model what the model says? A model is trained, served and asked both ways.

    python benchmarks/endpoint.py                        # llama.cpp with F32 and F16 caches, transformers serve
    python benchmarks/endpoint.py --vllm PATH/TO/vllm    # vLLM too, which is started here
    python benchmarks/endpoint.py --train FOLDER         # trains, and says how to serve it elsewhere, and then:
    python benchmarks/endpoint.py --folder FOLDER --vllm http://HOST:PORT/v1

Forty passages that the model was taught and sixty that it was not, 32 + 32 tokens each. Ids are those of greedy
decoding; a verdict is whether it gives the whole suffix; ranks and log-probabilities are of the true tokens. Figures of
servers that are not asked this time stay as they were. Writes results/endpoint.json and results/endpoint.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from memaudit import load_model
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models.base import LanguageModel
from memaudit.models.remote.address import Endpoint
from memaudit.records import Capability, TokenIds, TokenScores, Window
from tests.models.remote.learnt import CONTEXT, PREFIX, Learnt, learnt
from tests.models.remote.servers import llama_cpp, transformers_serve

WINDOWS = 100
HEADS = 3
"""Of which each is 32 wide, as vLLM's kernels for a CPU need it."""
LIMIT = 1e-4
"""Nats by which a log-probability of a server that does not round may differ."""
SERVE = (
    *("serve", "{folder}", "--dtype", "float32", "--max-model-len", "{context}", "--served-model-name", "learnt"),
    *("--host", "127.0.0.1", "--port", "{port}", "--enforce-eager"),
)


@dataclass(frozen=True)
class Said:
    """What a model says of the windows."""

    ids: list[TokenIds]
    scores: TokenScores | None

    def recited(self, windows: Sequence[Window]) -> list[bool]:
        """Whether it gives each whole suffix."""
        pairs = zip(self.ids, windows, strict=True)
        return [matched_tokens(np.not_equal(ids, w.suffix)) == len(w.suffix) for ids, w in pairs]


def main() -> None:
    """Ask the servers that are here."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train only, into this folder")
    parser.add_argument("--folder", type=Path, help="of a model that --train made; by default one is trained first")
    parser.add_argument("--vllm", help="address of a server of that folder, or the program that starts one")
    parser.add_argument("--only", nargs="*", default=[], help="ask servers alone whose names hold one of these")
    options = parser.parse_args()
    made = in_folder(options.folder) if options.folder else learnt(HEADS)
    if options.train:
        shutil.copytree(made.folder.parent, options.train, dirs_exist_ok=True)
        words = " ".join(SERVE).format(folder=options.train / made.folder.name, context=CONTEXT, port=8000)
        print(f"vllm {words}")
        return
    windows, local = windows_of(made), load_model(str(made.folder))
    own, report = said(local, windows), Report("endpoint")
    known = own.recited(windows)
    report.add("windows that the model recites, taught", sum(known[:40]), unit="of 40", goal=40)
    report.add("windows that the model recites, not taught", sum(known[40:]), unit="of 60", goal=0, at_most=True)
    for name, server, exact in servers(made, options.vllm):
        if not options.only or any(part in name for part in options.only):
            with server as address:
                compare(report, name, address, made, windows, own, exact=exact)
    report.rows += kept_from_before({row["what"].partition(": ")[0] for row in report.rows})
    (RESULTS / "endpoint.md").write_text(page(report.rows), encoding="utf-8")
    report.finish()


def servers(made: Learnt, vllm: str | None) -> Iterator[tuple[str, Any, bool]]:
    """Yield name, server and whether it computes as exactly as the model does."""
    release = importlib.metadata.version("xllamacpp")
    for cache in ("F32", "F16"):
        server = llama_cpp(made.gguf, context=CONTEXT, slots=4, cache=cache)
        yield f"llama.cpp (xllamacpp {release}), {cache} cache", server, cache == "F32"
    yield f"transformers serve {importlib.metadata.version('transformers')}", transformers_serve(made.folder), True
    if vllm:
        yield "vLLM, float32", vllm_server(made.folder, vllm), True


@contextmanager
def vllm_server(folder: Path, which: str) -> Iterator[str]:
    """Start vLLM from its program, which takes minutes; or take the address of one that runs."""
    if which.startswith("http"):
        yield which
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(folder=folder, context=CONTEXT, port=port) for word in SERVE]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    with ExitStack() as stack:
        quiet = subprocess.DEVNULL
        child = subprocess.Popen([which, *words], stdout=quiet, stderr=quiet, env=environment, start_new_session=True)
        stack.callback(child.wait)
        stack.callback(child.terminate)
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                if child.poll() is not None:
                    raise SystemExit(f"{which} {' '.join(words)}: did not start") from None
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"


def in_folder(folder: Path) -> Learnt:
    """Return what ``--train`` left in a folder."""
    return Learnt(folder / "model", folder / "model.gguf", folder / "train.jsonl", folder / "heldout.jsonl")


def windows_of(made: Learnt) -> list[Window]:
    """Return the taught windows, then the others."""
    files = (file.read_text(encoding="utf-8").splitlines() for file in (made.train, made.heldout))
    texts = [json.loads(line)["text"] for lines in files for line in lines]
    encoded = load_model(str(made.folder)).tokenizer.encode_batch(texts)
    windows = [Window(each.ids[:PREFIX], each.ids[PREFIX:]) for each in encoded]
    assert len(windows) == WINDOWS
    return windows


def said(model: LanguageModel, windows: Sequence[Window]) -> Said:
    """Ask a model for continuations, and for scores where it gives them."""
    ids = model.greedy_continuations(windows)
    return Said(ids, model.score(windows) if Capability.LOG_PROBS in model.capabilities else None)


def compare(
    report: Report, name: str, address: str, made: Learnt, windows: list[Window], own: Said, *, exact: bool
) -> None:
    """Add what a server says beside what the model says itself."""
    model = load_model(address, endpoint=Endpoint(tokenizer=str(made.folder)))
    before, began, cpu = requests(model), time.perf_counter(), time.process_time()
    model.greedy_continuations(windows)
    writing = time.process_time() - cpu
    theirs = said(model, windows)  # what is written is not asked for again
    taken, cpu, asked = time.perf_counter() - began, time.process_time() - cpu - writing, requests(model) - before
    same = sum(np.array_equal(one, other) for one, other in zip(theirs.ids, own.ids, strict=True))
    judged = sum(map(bool.__eq__, theirs.recited(windows), own.recited(windows)))
    about: Any = model.endpoint
    note = f"asked as: {about['dialect']}; {about['fingerprint'] or 'no fingerprint'}"
    whole = WINDOWS if exact and theirs.scores is not None else None
    report.add(f"{name}: same ids", same, unit="of 100", goal=whole, note=note)
    report.add(f"{name}: same verdict", judged, unit="of 100", goal=WINDOWS)
    if theirs.scores is not None and own.scores is not None:
        listed = model.tokenizer.vocab_size if about["listed"] is None else about["listed"]
        differ = float((theirs.scores.rank != np.minimum(own.scores.rank, listed)).mean())
        apart = np.abs(theirs.scores.log_prob - own.scores.log_prob)
        rounds = f"the server rounds: rank differs at {100 * differ:.1f}%" if differ else ""
        report.add(f"{name}: tokens with another rank", 100 * differ, unit="%", goal=0 if exact else None, at_most=True,
                   note=rounds)  # fmt: skip
        report.add(f"{name}: largest difference of a log-probability", apart.max(), unit="nats",
                   goal=LIMIT if exact else None, at_most=True)  # fmt: skip
    report.add(f"{name}: requests a window", asked / WINDOWS, unit="requests")
    report.add(f"{name}: a window", taken / WINDOWS, unit="s")
    report.add(f"{name}: the client writes a window", 1e3 * writing / WINDOWS, unit="ms CPU")
    if theirs.scores is not None:
        report.add(f"{name}: the client scores a window", 1e3 * cpu / WINDOWS, unit="ms CPU")


def requests(model: Any) -> int:
    """Return how many requests were sent so far."""
    return int(model.spent.partition(" ")[0].replace(",", ""))


def kept_from_before(asked: set[str]) -> list[dict[str, Any]]:
    """Return the figures of servers that were not asked this time."""
    file = RESULTS / "endpoint.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["figures"] if file.is_file() else []
    return [row for row in rows if ": " in row["what"] and row["what"].partition(": ")[0] not in asked]


def page(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a table, a line a server."""
    columns = {
        "same ids": "same ids", "same verdict": "same verdict", "tokens with another rank": "ranks that differ",
        "largest difference of a log-probability": "largest difference, nats", "requests a window": "requests a window",
        "a window": "seconds a window", "the client writes a window": "client's CPU to have it written, ms",
        "the client scores a window": "and scored, ms",
    }  # fmt: skip
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        server, colon, what = row["what"].partition(": ")
        if colon and what in columns:
            shown = f"{row['value']:.3g}{'%' if row['unit'] == '%' else ''}"
            table.setdefault(server, {})[what] = f"{shown} {row['unit']}" if row["unit"] == "of 100" else shown
            table[server].setdefault("note", row["note"].removeprefix("asked as: "))
    lines = [
        "# A model behind a server against the same model here",
        "",
        "Forty windows that the model was taught and sixty that it was not, 32 + 32 tokens each, by",
        "`benchmarks/endpoint.py`, which trains the model first and starts the servers (vLLM with `--vllm`), all on",
        "the same two cores. A dash stands where a server gives no log-probabilities. llama.cpp lists all 512 tokens",
        "of the vocabulary at every place, which is what the client's time goes into; what a request takes otherwise",
        "is in `endpoint_overhead.json`. Text alone is cut into tokens here: behind what is known by heart, elsewhere",
        "than the model did at times, which makes other ids and the same verdict.",
        "",
        *[f"**{row['what'].partition(': ')[0]}**: {row['note']}." for row in rows if "rounds" in row["note"]],
        "",
        f"| server | asked as | {' | '.join(columns.values())} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for server, cells in table.items():
        told = [cells.get(what, "-") for what in columns]
        lines.append(f"| {server} | {cells['note']} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
