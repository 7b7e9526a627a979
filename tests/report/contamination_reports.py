"""Contamination checks that nobody ran: plausible reports, some of them made of hostile text."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pydoc_data.topics import topics
from typing import Any

HOSTILE = [
    '<script>alert("1")</script></title><img src=x onerror=alert(1)>',
    "\x1b]0;owned\x07 \x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\ \x9b31m red \r over",
    "[/b] [link=https://evil.example]click[/link] [bold red on white]{{ 7 * 7 }}{% raw %} {0}",
    "abc\u202egnitirw\u2066 \u200b zero \ufeff width \U000e0041\U000e0042 \u2028 line",
    "lone \ud800 surrogate and NUL \x00 and DEL \x7f and C1 \x85",
    'javascript:alert(1)" onmouseover="alert(2)" style="background:url(http://evil.example/x)',
    "]]></testcase><failure message='x'/>&amp;&lt;",
    "\n::error file=x::owned\n::set-output name=a::b\n##[add-mask]a %0A::warning::x",
    "| a | b |\n|---|---|\n`code` ``` [click](https://evil.example) ![i](//evil.example/x) @everyone #1 **b** <b>",
]
WORDS = " ".join(" ".join(topics[name].split()) for name in sorted(topics)).split(" ")
MATCHES = ("raw", "normalised", "edited")
RULES = [
    ("memaudit", "memaudit", "IDF-weighted seeds of 5 words, then a similarity of at least 80%", None),
    ("gpt3", "GPT-3 n-gram", "any n-gram of 8 to 13 words", "Brown et al. 2020"),
    ("pile13", "Pile 13-gram", "any 13-gram", "Gao et al. 2020"),
    ("palm", "PaLM 8-gram 70%", "at least 70% of the 8-grams", "Chowdhery et al. 2022"),
    ("llama2", "Llama 2, dirty", "at least 80% of the words in spans of more than 10", "Touvron et al. 2023"),
    ("gpt4", "GPT-4 substrings", "any of three substrings of 50 characters", "OpenAI 2023"),
]
_FIXED = ("verdict", "kind", "metric", "match", "rules", "part", "id", "sha256", "identity", "split")
"""Words that the format fixes, or that memaudit computes."""


def contamination_report(
    verdict: str = "found", found: int = 7, accepted: int = 2, seed: int = 0, hostile: bool = False, **changes: Any
) -> dict[str, Any]:
    """Return what report.json of a check holds.

    Args:
        verdict: Found, clean or inconclusive.
        found: Contaminated items, the accepted ones among them.
        accepted: Items that a baseline accepts.
        seed: Draws texts and numbers.
        hostile: Whether every text from data is hostile.
        **changes: Replace whole keys.
    """
    lot = random.Random(seed)
    findings = [_finding(number, lot, number <= accepted) for number in range(1, found + 1)]
    report: dict[str, Any] = {
        "schema_version": 1,
        "kind": "contamination",
        "complete": True,
        "verdict": verdict,
        "exit_code": {"clean": 0, "found": 1, "inconclusive": 3}[verdict],
        "headline": f"{found:,} of 1,312 items occur in web/*.jsonl (38,469 documents)",
        "reasons": [f"{found - accepted:,} contaminated items, and 0 are tolerated"],
        "policy": {"max_items": 0, "max_rate": None},
        "benchmark": {
            "files": [{"path": "data/test.jsonl", "sha256": "ab" * 32, "bytes": 749_738}],
            "layout": "GSM8K",
            "fields": {"question": ["question"], "answer": ["answer"], "both": ["question", "answer"]},
            "items": 1319,
            "judged": 1312,
            "not_judged": [{"reason": "fewer than 5 words in every part", "count": 7}],
            "empty": 1,
            "rejected": 2,
            "first_rejected": ["data/test.jsonl:14: not valid JSON", "data/test.jsonl:15: not UTF-8 at byte 3"],
        },
        "corpus": {
            "files": [{"path": f"web/part-{i}.jsonl", "sha256": f"{i:02x}" * 32, "bytes": 10**8 + i} for i in range(4)],
            "documents": 38_469,
            "words": 21_345_678,
            "bytes": 150_234_567,
            "empty": 12,
            "rejected": 1,
            "first_rejected": ["web/part-3.jsonl:99: not valid JSON"],
            "index": None,
        },
        "estimates": [_estimate(rule, lot, found) for rule in RULES],
        "parts": [{"part": name, "hits": found // k, "n": 1312} for k, name in enumerate(("question", "answer"), 1)],
        "findings": findings,
        "likeness": likeness(found, lot),
        "spared": [_spared(900 + i) for i in range(3)],
        "spared_count": 5,
        "groups": max(0, found - 1),
        "scores": None,
        "baseline": {"path": "accepted.json", "entries": accepted + 1, "accepted": accepted, "stale": 1},
        "controls": [
            {"name": "finds items that were planted", "passed": True, "detail": "50 of 50 items were found"},
        ],
        "limits": [
            "Matching is by words: a paraphrase or a translation is not found.",
            "An item that was found occurs in the corpus; whether a model remembers it is another question.",
        ],
        "options": {
            **{"fields": [], "id_field": None, "text_field": "text", "split": "auto"},
            **{"skip_bad": True, "max_expand": None},
        },
        "provenance": {
            "identity": "9f" * 32,
            "command": "memaudit contamination data/test.jsonl --corpus 'web/*.jsonl' --baseline accepted.json",
            "versions": {"memaudit": "0.1.0", "python": "3.11.7", "numpy": "2.4.0"},
        },
    }
    report |= changes
    return poison(report, random.Random(seed)) if hostile else report


def scores(model: str = "gpt-x") -> dict[str, Any]:
    """Return the accuracies of a model on clean and contaminated items."""
    return {
        "file": "scores.jsonl",
        "model": model,
        "clean": {"hits": 400, "n": 1305, "rate": 400 / 1305, "low": 0.28, "high": 0.33},
        "contaminated": {"hits": 6, "n": 7, "rate": 6 / 7, "low": 0.42, "high": 0.996},
        "difference": {"estimate": 6 / 7 - 400 / 1305, "low": 0.11, "high": 0.69},
        "p_value": 0.0031,
        "sentence": f"{model} answers contaminated items more often.",
        "items_without_score": 3,
        "scores_not_used": 1,
    }


def fingerprint(number: int) -> str:
    """Return a fingerprint as findings have them."""
    return f"v1:{hashlib.sha256(str(number).encode()).hexdigest()[:32]}"


def _estimate(rule: tuple[str, str, str, str | None], lot: random.Random, found: int) -> dict[str, Any]:
    metric, label, definition, source = rule
    hits = found if metric == "memaudit" else lot.randrange(400)
    undefined = 0 if metric == "memaudit" else 7
    n = 1312 - undefined
    return {
        "metric": metric,
        "label": label,
        "definition": definition,
        "source": source,
        "primary": metric == "memaudit",
        "hits": hits,
        "n": n,
        "rate": hits / n,
        "undefined": undefined,
        "classes": _classes(n, hits) if metric == "llama2" else [],
    }


def _classes(n: int, dirty: int) -> list[dict[str, Any]]:
    counts = {"clean": n - 1000, "not clean": 1000, "not dirty": n - dirty, "dirty": dirty}
    return [{"name": name, "count": count} for name, count in counts.items()]


def _finding(number: int, lot: random.Random, accepted: bool) -> dict[str, Any]:
    documents = lot.choice([1, 1, 2, 5, 40])
    shown = min(3, documents)
    match = MATCHES[number % 3]
    evidence = [_evidence(match, lot, documents) for _ in range(shown)]
    return {
        "id": fingerprint(number),
        "kind": "contamination",
        "item": f"gsm8k/test/{number}",
        "number": number,
        "source": f"data/test.jsonl:{number}",
        "part": "question" if number % 2 else "both",
        "match": match,
        "score": evidence[0]["score"],
        "coverage": 1.0 if match != "edited" else 0.61,
        "documents": documents,
        "rules": ["pile13", "palm"][: number % 3],
        "accepted": accepted,
        "evidence": evidence,
        "more_documents": documents - shown,
    }


def _evidence(match: str, lot: random.Random, documents: int) -> dict[str, Any]:
    at = lot.randrange(len(WORDS) - 400)
    words = WORDS[at : at + 60]
    before, after = " ".join(WORDS[at + 100 : at + 180]), " ".join(WORDS[at + 200 : at + 300])
    if match == "edited":
        item = [[" ".join(words[:20]), True], [" three changed words ", False], [" ".join(words[23:]), True]]
        corpus = [[before + " ", False], [" ".join(words[:20]), True], [" quite other ones ", False]]
        corpus += [[" ".join(words[23:]), True], [" " + after, False]]
    else:
        text = " ".join(words)
        item = [[text, True]]
        corpus = [[before + "\n\n", False], [text if match == "raw" else text.upper(), True], ["\n" + after, False]]
    return {
        "source": f"web/part-{lot.randrange(4)}.jsonl:{lot.randrange(1, 9999)}",
        "start": lot.randrange(5000),
        "score": 1.0 if match != "edited" else 0.8 + 0.19 * lot.random(),
        "match": match,
        "item_pieces": item,
        "corpus_pieces": corpus,
        "spans": [{"text": text, "documents": documents} for text, copied in item if copied],
    }


def likeness(found: int, lot: random.Random) -> dict[str, Any]:
    """Return counts by likeness: all found items alike, most of the others like nothing, a few in between."""
    counts = [_count(None, "clean", 1200, lot), _count(None, "not judged", 7, lot), _count(6, "clean", 100, lot)]
    counts += [_count(13, "clean", max(0, 12 - found), lot)] * (found < 12)
    counts += [_count(19, "contaminated", found, lot)] * bool(found)
    return {
        "bins": 20,
        "least": 0.7,
        "lowest_found": 0.96 if found else None,
        "highest_other": 0.68 if found < 12 else 0.34,
        "rules": [name for name, *_ in RULES[1:]],
        "counts": counts,
    }


def _count(bin: int | None, verdict: str, items: int, lot: random.Random) -> dict[str, Any]:
    return {"bin": bin, "verdict": verdict, "items": items, "convicted": [lot.randint(0, items) for _ in RULES[1:]]}


def _spared(number: int) -> dict[str, Any]:
    return {
        "item": f"gsm8k/test/{number}",
        "source": f"data/test.jsonl:{number}",
        "rules": ["gpt3", "palm"],
        "reason": f"the most similar document holds {number % 70}.0% of its own words",
    }


def poison(value: Any, lot: random.Random, texts: Sequence[str] = HOSTILE) -> Any:
    """Put hostile text into every string but those that the format fixes."""
    if isinstance(value, dict):
        return {key: entry if key in _FIXED else poison(entry, lot, texts) for key, entry in value.items()}
    if isinstance(value, list):
        return [poison(entry, lot, texts) for entry in value]
    return f"{lot.choice(texts)} {value}" if isinstance(value, str) else value
