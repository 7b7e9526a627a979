"""Reports of audits of whole works that nobody ran, with numbers that agree with each other."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from memaudit.records import WindowRecord
from memaudit.runs.directory import ReportInput
from memaudit.runs.work_report import WorkReport

THRESHOLDS = [0.001, 0.01, 0.1, 0.5, 0.75]
PREFIX = SUFFIX = 50
TITLES = (
    "Down the Rabbit-Hole", "The Pool of Tears", "A Caucus-Race and a Long Tale", "The Rabbit Sends in a Little Bill",
    "Advice from a Caterpillar", "Pig and Pepper", "A Mad Tea-Party", "The Queen’s Croquet-Ground",
    "The Mock Turtle’s Story", "The Lobster Quadrille", "Who Stole the Tarts?", "Alice’s Evidence",
)  # fmt: skip
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


def levels_of(strengths: Sequence[tuple[int, float]], stride: int, seed: int) -> str:
    """A digit a window: parts of so many tokens, each of a strength (mean of log10 p_z), neighbours alike."""
    lot = random.Random(seed)
    tokens = sum(length for length, _ in strengths)
    ends, total = [], 0
    for length, strength in strengths:
        total += length
        ends.append((total, strength))
    digits, noise = [], 0.0
    for start in range(0, tokens - PREFIX - SUFFIX + 1, stride):
        strength = next(strength for end, strength in ends if start + PREFIX < end)
        noise = 0.9 * noise + lot.gauss(0, 0.5)
        p = 10 ** min(0.0, strength + noise)
        digits.append(str(sum(p >= threshold for threshold in THRESHOLDS)))
    return "".join(digits)


def covered(levels: str, least: int, stride: int, tokens: int) -> bytearray:
    """Whether each token lies in the suffix of a window that reaches so many thresholds, one after the other."""
    found, ones, reaching = bytearray(tokens), bytes([1]) * SUFFIX, "0123456789"[least:]
    for i, digit in enumerate(levels):
        if digit in reaching:
            at = i * stride + PREFIX
            found[at : at + SUFFIX] = ones
    return found


def runs(mask: bytearray, what: bool) -> list[tuple[int, int]]:
    """(length, first token) of every run, the longest first."""
    found = [(match.end() - match.start(), match.start()) for match in re.finditer(b"\1+" if what else b"\0+", mask)]
    return sorted(found, key=lambda run: (-run[0], run[1]))


def reached(masks: Sequence[bytearray], levels: Sequence[str], first: int, last: int) -> list[dict[str, Any]]:
    """Greedy decoding, then every threshold, of the tokens from ``first`` up to ``last``."""
    made = []
    for threshold, mask, hits in zip([None, *THRESHOLDS], masks, levels, strict=True):
        count = mask[first:last].count(1)
        share = count / (last - first) if last > first else None
        half = 0.08
        made.append(
            {
                "threshold": threshold,
                "windows": hits.count("1"),
                "tokens": count,
                "share": share,
                "low": None if share is None else max(0.0, share - half),
                "high": None if share is None else min(1.0, share + half),
            }
        )
    return made


def measured(
    name: str,
    lengths: Sequence[tuple[int, float]],
    *,
    control: bool = False,
    stride: int = 10,
    seed: int = 0,
    titles: Sequence[str] | None = None,
    levels: str | None = None,
) -> dict[str, Any]:
    """A work: its parts as (tokens, strength)."""
    tokens = sum(length for length, _ in lengths)
    levels = levels_of(lengths, stride, seed) if levels is None else levels
    greedy = "".join("1" if digit > "1" else "0" for digit in levels)
    hits = [greedy, *("".join("1" if int(d) >= i else "0" for d in levels) for i in range(1, len(THRESHOLDS) + 1))]
    masks = [covered(hit, 1, stride, tokens) for hit in hits]
    titles = titles or [f"CHAPTER {ROMAN[i % 12]}. {TITLES[i % 12]}" for i in range(len(lengths))]
    parts, at = [], 0

    def place(run: tuple[int, int], threshold: float | None) -> dict[str, Any]:
        length, token = run
        part = next(i for i, part in reversed(list(enumerate(parts))) if part["token"] <= token)
        return {
            "token": token, "tokens": length, "part": part, "line": token // 14 + 1, "word": int(token / 1.3),
            "words": int(length / 1.3), "threshold": threshold, "log_p": math.log(0.8) if threshold else None,
            "text": f"Alice was beginning to get very tired, {name}, at token {token} ..." if threshold else None,
        }  # fmt: skip

    for (length, _), title in zip(lengths, titles, strict=True):
        inside = slice(*(max(0, -(-(end - PREFIX) // stride)) for end in (at, at + length)))
        own = [hit[inside] for hit in hits]
        parts.append(
            {
                "title": title, "line": at // 14 + 1, "token": at, "tokens": length, "words": int(length / 1.3),
                "windows": len(own[0]), "reached": reached(masks, own, at, at + length),
            }
        )  # fmt: skip
        at += length
    costs = [
        {"threshold": t, "windows": math.ceil(m.count(1) / SUFFIX), "samples": m.count(1) / SUFFIX * math.log(2) / t,
         "tokens": m.count(1) * math.log(2) / t}
        for t, m in zip(THRESHOLDS, masks[1:], strict=True)
    ]  # fmt: skip
    return {
        "name": name, "source": f"{name}.txt:1", "control": control, "sha256": f"{seed:02x}" * 32, "tokens": tokens,
        "words": int(tokens / 1.3), "lines": tokens // 14, "windows": len(levels),
        "coverable": min(tokens, (len(levels) - 1) * stride + PREFIX + SUFFIX) - PREFIX if levels else 0,
        "read": len(levels), "checked": 0, "check_hits": 0, "levels": levels, "greedy": greedy, "parts": parts,
        "reached": reached(masks, hits, 0, tokens), "costs": costs,
        "longest": [place(run, 0.5) for run in runs(masks[4], True)[:10]],
        "holes": [place(run, None) for run in runs(masks[4], False)[:10]],
    }  # fmt: skip


@cache
def long_work() -> dict[str, Any]:
    """A hundred chapters, every window of them; it is not to be changed."""
    levels = "".join(str((i * i // 7) % 6) for i in range(300_000 - 99))
    return measured("long", [(3000, 0.0)] * 100, stride=1, levels=levels)


def alice(**options: Any) -> dict[str, Any]:
    """Twelve chapters; the first, the seventh and the eleventh are known by heart."""
    strong = {0: 0.2, 6: 0.1, 10: -0.3}
    lengths = [(2900 + 90 * ((7 * i) % 12), strong.get(i, -2.2 + 0.1 * i)) for i in range(12)]
    return measured("alice", lengths, seed=1, **options)


def controls(**options: Any) -> list[dict[str, Any]]:
    """Two works that nobody learnt."""
    chapters = [(4200 + 37 * i, -9.0) for i in range(6)]
    letters = [f"Letter {i}" for i in range(1, 7)]
    return [
        measured("frankenstein", chapters, control=True, seed=2, titles=letters, **options),
        measured("moby-dick", [(9000, -8.5)], control=True, seed=3, titles=["the whole text"], **options),
    ]


def records(made: WorkReport) -> tuple[list[WindowRecord], list[dict[str, Any]]]:
    """Windows to be shown: passages, some that were drawn, some of control works; and what the log says of all."""
    lot = random.Random(0)
    shown, lines = list[WindowRecord](), list[dict[str, Any]]()
    for number, work in enumerate(made["works"]):
        ps = [[1e-9, *THRESHOLDS][int(digit)] + 1e-4 * lot.random() for digit in work["levels"]]
        log_p = [math.log(p) if p >= THRESHOLDS[0] else None for p in ps]
        lines.append({"index": number, "measure": "windows", "work": number, "windows": list(range(len(log_p))),
                      "log_p": log_p, "greedy": work["greedy"]})  # fmt: skip
        best = [] if work["control"] else [(passage["token"] - PREFIX) // 10 for passage in work["longest"]]
        drawn = sorted(lot.sample(range(len(ps)), 4 if work["control"] else 8))
        for window in [*best, *drawn]:
            sampled = window in drawn and not work["control"]
            shown.append(window_record(len(shown), work, window, math.log(ps[window]), sampled))
    return shown, lines


def window_record(index: int, work: Any, window: int, log_p: float, sampled: bool) -> WindowRecord:
    hit = work["greedy"][window] == "1"
    said = f" Rabbit {window} ran down the hole and was gone before Alice could say a word to him."
    return WindowRecord(
        index=index, member=not work["control"], document=work["name"], source=f"{work['name']}.txt:{window + 1}",
        domain=None, copies=None, start=10 * window, prefix_ids=[1] * 50, suffix_ids=[2] * 50,
        prefix_text=f"Text before window {window} of {work['name']}, and then the White", suffix_text=said,
        log_prob=log_p, matched=50 if hit else 7, extractable=hit, extraction_strength=None,
        continuation_ids=[2] * 50, continuation_text=said if hit else " Queen said something else to her instead.",
        sampled=sampled,
    )  # fmt: skip


def run(**options: Any) -> ReportInput[WorkReport]:
    """A finished run over works."""
    made = report(**options)
    return ReportInput(made, *records(made))


def report(works: Sequence[dict[str, Any]] | None = None, *, verdict: str = "found", **changes: Any) -> WorkReport:
    """A report over works; by default Alice and two control works."""
    works = [alice(), *controls()] if works is None else works
    share = next(r["share"] for r in works[0]["reached"] if r["threshold"] == 0.5)
    made: dict[str, Any] = {
        "schema_version": 1, "kind": "work", "complete": True, "verdict": verdict,
        "exit_code": {"clean": 0, "found": 1, "inconclusive": 3}[verdict],
        "provenance": {
            "identity": "9f" * 32,
            "command": "memaudit work models/mine --text alice.txt --heldout frankenstein.txt --heldout moby-dick.txt",
            "versions": {"memaudit": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.0"},
        },
        "headline": f"{share or 0:.1%} of alice can be had back at p >= 50%, in chapters I, VII and XI.",
        "reasons": ["More than in either control work: p = 0.0005."],
        "controls": [{"name": "batch self-test", "passed": True, "detail": "3 windows score the same alone"}],
        "limits": ["Other prompts and other decoding may bring out more."],
        "sections": [],
        "model": {
            "spec": "models/mine", "name": "mine", "family": "gpt", "objective": "next-token", "parameters": 1_600_000,
            "context_length": 128, "sha256": "0123456789abcdef" * 4, "tokenizer_sha256": "fe" * 32,
            "vocabulary": 1024, "device": "cpu", "dtype": "float32", "attention": "sdpa", "start_token": 0,
            "end_tokens": [0], "frame": [[0], []], "frame_text": ["<s>", ""],
            "files": [], "ignored": [], "self_test": [-1.5],
        },
        "options": {
            "prefix": PREFIX, "suffix": SUFFIX, "stride": 10, "exact": False, "temperature": 1.0, "top_k": None,
            "top_p": None, "start_token": "as-trained", "parts": None, "threshold": 0.5, "max_rate": 0.01,
            "alpha": 0.05, "near_verbatim": 0, "seed": 0,
        },
        "corpus": {"specs": ["alice.txt"], "units": "whole works, in order", "sha256": "ab" * 32},
        "thresholds": THRESHOLDS, "works": works,
        "test": {
            "possible": True, "why_not": None, "estimate": 0.24, "low": 0.2, "high": 0.28, "p_value": 0.0005,
            "block_tokens": 400, "blocks": [99, 90], "dependence": 0.41, "unit": "blocks", "detectable": 0.03,
            "works": [
                {"name": works[0]["name"], "share": 0.24, "upper": 0.3, "block_tokens": 500, "blocks": 99,
                 "p_value": 0.0005, "p_holm": 0.0005}
            ],
        },
        "findings": [
            {"id": "v1:ab12", "kind": "work", "document": works[0]["name"], "source": works[0]["source"],
             "metric": "p_z of at least 50%", "score": share or 0.0, "copies": None, "text": None}
        ] if verdict == "found" else [],
    }  # fmt: skip
    return made | changes  # type: ignore[return-value]
