"""Runs that nobody ran: plausible plans, reports and records, some of them made of hostile text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pydoc_data.topics import topics
from typing import Any

import pytest

from memaudit.audits.extraction.distributions import composition, counted_doses, distributions
from memaudit.audits.extraction.options import AuditOptions
from memaudit.records import WindowRecord

HOSTILE = [
    '<script>alert("1")</script></title><img src=x onerror=alert(1)>',
    "\x1b]0;owned\x07 \x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\ \x9b31m red \r over",
    "[/b] [link=https://evil.example]click[/link] [bold red on white]{{ 7 * 7 }}{% raw %}",
    "abc\u202egnitirw\u2066 \u200b zero \ufeff width \U000e0041\U000e0042 \u2028 line",
    "lone \ud800 surrogate and NUL \x00 and DEL \x7f and C1 \x85",
    'javascript:alert(1)" onmouseover="alert(2)" style="background:url(http://evil.example/x)',
    "يُولَدُ جميعُ الناسِ أحرارًا ومتساوين في الكرامةِ والحقوق",
    "人人生而自由，在尊严和权利上一律平等。 มนุษย์ทั้งหลายเกิดมามีอิสระ 👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "def f(x):\n    return [y for y in x if y]\n\n\nclass A:\n\tpass",
    "]]></testcase><failure message='x'/>&amp;&lt;",
]
PROSE = " ".join(" ".join(topics[name].split()) for name in sorted(topics)).split(" ")
CODE = [
    "def load(path):\n    with path.open() as file:\n        return [parse(line) for line in file]\n\n",
    "class Buffer:\n    def __init__(self, size):\n        self.size = size\n        self.items = []\n",
    "for name, value in sorted(table.items()):\n    if value is None:\n        raise KeyError(name)\n",
]
DOSES = (1, 2, 4, 8, 16, 32, 64)


def rate(hits: int, n: int, documents: int | None = None) -> dict[str, Any]:
    if n == 0:
        return {"hits": 0, "n": 0, "documents": 0, "rate": None, "low": None, "high": None}
    p = hits / n
    half = 1.96 * (p * (1 - p) / n) ** 0.5 + 1.5 / n
    return {
        "hits": hits,
        "n": n,
        "documents": documents or n,
        "rate": p,
        "low": max(0.0, p - half),
        "high": min(1.0, p + half),
    }


def record(index: int, lot: random.Random, dose: int, strength: float) -> WindowRecord:
    """One window whose chance to be recited grows with its dose."""
    member = dose > 0
    at = lot.randrange(len(PROSE) - 100)
    code = index % 4 == 3
    words = CODE[index % 3].split(" ") if code else PROSE[at : at + 70]
    cut = len(words) // 2
    prefix, suffix = " ".join(words[:cut]), " " + " ".join(words[cut:])
    chance = min(1.0, strength * dose / 16)
    hit = lot.random() < chance
    matched = 50 if hit else min(49, int(lot.expovariate(1 / (2 + 30 * chance))))
    other = PROSE[at // 2 : at // 2 + 40]
    kept = words[cut : cut + round((len(words) - cut) * matched / 50)]
    said = suffix if hit else " " + " ".join([*kept, *other][: len(words) - cut])
    similarity = 1.0 if hit else 0.1 + 0.85 * matched / 50
    return WindowRecord(
        index=index,
        member=member,
        document=f"{'planted' if member else 'twin'}-{index:03d}",
        source=f"corpus/{'planted' if member else 'twins'}.jsonl:{index + 1}",
        domain="code" if code else "prose",
        copies=dose,
        start=lot.randrange(4),
        prefix_ids=[lot.randrange(1024) for _ in range(50)],
        suffix_ids=[lot.randrange(1024) for _ in range(50)],
        prefix_text=prefix,
        suffix_text=suffix,
        log_prob=-3.0 * (51 - matched),
        matched=matched,
        extractable=hit,
        extraction_strength=matched / 50,
        continuation_ids=[1] * 50,
        continuation_text=said,
        longest_common=matched,
        edit_similarity=similarity,
        edit_similarity_text=similarity,
        rouge_l=similarity,
        rouge_l_text=similarity,
        bleu=similarity**2,
        copies_normalised=dose + index % 2,
        copies_exact=dose,
        elsewhere=None if hit else index % 4,
        copies_in=[f"corpus/planted.jsonl:{index + 1 + more}" for more in range(min(3, dose - 1 + index % 2))],
        elsewhere_in=None if hit else [f"web-{more} (corpus/web.jsonl:{more})" for more in range(index % 4)],
    )


def side(records: list[WindowRecord], hit: Callable[[WindowRecord], bool]) -> dict[str, Any]:
    return rate(sum(map(hit, records)), len(records))


def build_records(seed: int, strength: float, per_dose: int = 16) -> list[WindowRecord]:
    lot = random.Random(seed)
    doses = [dose for dose in DOSES for _ in range(per_dose)]
    doses += [0] * len(doses)
    return [record(i, lot, dose, strength) for i, dose in enumerate(doses)]


METRICS: list[tuple[str, str, str, float | None, Callable[[WindowRecord], bool]]] = [
    ("extractable", "Extractable", "greedy decoding reproduces all 50 tokens", 1.0, lambda r: r.extractable),
    (
        "edit_similarity",
        "Near-verbatim by edit distance",
        "1 - Levenshtein / length of token ids",
        0.8,
        lambda r: (r.edit_similarity or 0) >= 0.8,
    ),
    ("bleu", "Near-verbatim by BLEU", "sentence BLEU of token ids", 0.75, lambda r: (r.bleu or 0) > 0.75),
    (
        "rouge_l",
        "Near-verbatim by ROUGE-L",
        "F of the longest common subsequence",
        0.8,
        lambda r: (r.rouge_l or 0) >= 0.8,
    ),
]


def build_report(
    records: list[WindowRecord], family: str = "gpt", verdict: str = "found", **changes: Any
) -> dict[str, Any]:
    train, heldout = ([r for r in records if r.member == member] for member in (True, False))
    estimates = []
    for name, label, definition, threshold, hit in METRICS:
        one, other = side(train, hit), side(heldout, hit)
        defined = one["rate"] is not None and other["rate"] is not None
        gap = one["rate"] - other["rate"] if defined else None
        estimates.append(
            {
                "metric": name,
                "label": label,
                "definition": definition,
                "threshold": threshold,
                "train": one,
                "heldout": other,
                "difference": difference(gap),
                "p_value": 0.0001 if defined else None,
                "p_holm": None if name == "extractable" else 0.0003,
                "unit": "document",
                "primary": name == "extractable",
            }
        )
    doses = [
        {
            "copies": dose,
            **side([r for r in records if r.copies == dose], lambda r: r.extractable),
            "edit_similarity": mean([r.edit_similarity or 0.0 for r in records if r.copies == dose]),
        }
        for dose in (0, *DOSES)
    ]
    text = {
        "specs": ["corpus/planted.jsonl"],
        "files": [{"path": "corpus/planted.jsonl", "sha256": "ab" * 32, "bytes": 123456}],
        "documents": len(train),
        "empty": 2,
        "units": "one document per line of corpus/planted.jsonl",
        "domains": {"prose": 84, "code": 28},
    }
    hits = [r for r in train if r.extractable]
    report: dict[str, Any] = {
        "schema_version": 1,
        "kind": "extraction",
        "complete": True,
        "verdict": verdict,
        "exit_code": {"clean": 0, "found": 1, "inconclusive": 3}[verdict],
        "headline": f"{len(hits)} of {len(train)} training windows are reproduced word for word; "
        f"{side(heldout, lambda r: r.extractable)['hits']} of {len(heldout)} held-out windows are.",
        "reasons": ["Lower bound of the training rate lies above the limit of 1%."],
        "primary_metric": "extractable",
        "policy": {"max_rate": 0.01, "alpha": 0.05},
        "model": {
            "spec": f"models/{family}",
            "name": family,
            "family": family,
            "objective": "masked" if family == "bert" else "next-token",
            "parameters": {"ngram": 812_345, "rnn": 789_504, "gpt": 533_120}.get(family, 1_234_567),
            "context_length": None if family in ("ngram", "rnn") else 128,
            "sha256": "0123456789abcdef" * 4,
            "tokenizer_sha256": "fedcba9876543210" * 4,
            "ignored": ["generation_config.json: repetition_penalty"],
            "device": "cpu",
            "dtype": "float32",
            "attention": None if family in ("ngram", "rnn") else "sdpa",
            "start_token": 0,
            "end_tokens": [0],
            "vocabulary": 1024,
            "self_test": [-1.5, -2.5, None],
            "files": [{"path": "model.safetensors", "sha256": "5a" * 32, "bytes": 4321}],
        },
        "train": text,
        "heldout": {**text, "specs": ["corpus/twins.jsonl"], "documents": len(heldout)},
        "options": json.loads(json.dumps(asdict(AuditOptions()))),
        "windows": {
            "train": len(train),
            "heldout": len(heldout),
            "train_documents": len(train),
            "heldout_documents": len(heldout),
            "set_aside": [{"side": "train", "reason": "shorter than 100 tokens", "count": 7}],
            "overlaps": [{"heldout": "twin-9", "train": "planted-3", "view": "exact"}],
            "matching": "matched by length and domain",
            "sha256": "cd" * 32,
        },
        "estimates": estimates,
        "means": [
            {
                "metric": "matched",
                "label": "Tokens matched before the first difference",
                "unit": "tokens",
                "train": 23.4,
                "heldout": 1.93,
            },
            {"metric": "bits", "label": "Bits per token", "unit": "bits", "train": 2.31, "heldout": 6.84},
            {
                "metric": "edit",
                "label": "Edit similarity of token ids",
                "unit": "",
                "train": 0.61,
                "heldout": None,
            },
        ],
        "copies": {
            "counted": True,
            "reason": None,
            "index": {"sha256": "ef" * 32, "documents": 2_940, "words": 117_218},
            "elsewhere": {
                name: side([r for r in group if r.elsewhere is not None], lambda r: bool(r.elsewhere))
                for name, group in (("train", train), ("heldout", heldout))
            },
        },
        "doses": doses,
        "counted_doses": counted_doses(records),
        "distributions": distributions(records, 50),
        "composition": composition(records, text["domains"]),
        "domains": [
            {
                "domain": domain,
                "train": side([r for r in train if r.domain == domain], lambda r: r.extractable),
                "heldout": side([r for r in heldout if r.domain == domain], lambda r: r.extractable),
            }
            for domain in ("prose", "code")
        ],
        "controls": [
            {
                "name": "beats a unigram model",
                "passed": True,
                "detail": "training text 1.93 nats a token, unigram 6.05",
            },
            {
                "name": "batch self-test",
                "passed": True,
                "detail": "3 windows score the same alone and together",
            },
            {"name": "matched held-out text", "passed": None, "detail": "no domains to match"},
        ],
        "power": {
            "upper_bound": 0.41,
            "documents": len(train),
            "documents_needed": 299,
            "correlation": 1.0,
            "heldout_rate": 0.0,
            "sentence": "0 of 112: the rate may be up to 2.6%; 299 documents are needed to show 1%.",
            "minimum_detectable_rate": 0.062,
            "verdicts": [
                {"rate": 0.0, "found": 0.0, "clean": 0.25},
                {"rate": 0.05, "found": 0.647, "clean": 0.0},
                {"rate": 0.5, "found": 1.0, "clean": 0.0},
            ],
            "verdict_sentence": "a true rate of 6.2% would be found with a power of 80%",
            "about": "How often this verdict would be given, by the rate",
        },
        "limits": [
            "Greedy decoding from 50-token prefixes only: text that needs another prompt does not show.",
            "The passages were planted; real text is repeated in other ways.",
        ],
        "findings": [
            {
                "id": f"{r.index:016x}",
                "kind": "verbatim",
                "document": r.document,
                "source": r.source,
                "metric": "extractable",
                "score": 1.0,
                "copies": r.copies,
                "copies_exact": r.copies_exact,
                "copies_normalised": r.copies_normalised,
                "text": r.suffix_text,
            }
            for r in hits
        ],
        "provenance": {
            "identity": "9f" * 32,
            "command": f"memaudit audit models/{family} --train planted.jsonl --heldout twins.jsonl",
            "versions": {"memaudit": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.0"},
        },
    }
    return report | changes


def difference(gap: float | None) -> dict[str, float] | None:
    if gap is None:
        return None
    return {"estimate": gap, "low": max(-1.0, gap - 0.09), "high": min(1.0, gap + 0.09)}


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def poison(value: Any, lot: random.Random, texts: Sequence[str] = HOSTILE) -> Any:
    """Put hostile text into every string of a report but the words that the contract fixes."""
    if isinstance(value, dict):
        fixed = {"verdict", "kind", "primary_metric", "metric", "objective", "family", "side", "unit", "split"}
        fixed.add("start_token")
        return {k: v if k in fixed else poison(v, lot, texts) for k, v in value.items()}
    if isinstance(value, list):
        return [poison(v, lot, texts) for v in value]
    return f"{lot.choice(texts)} {value}" if isinstance(value, str) else value


def poison_record(clean: WindowRecord, lot: random.Random) -> WindowRecord:
    return replace(
        clean,
        document=lot.choice(HOSTILE),
        source=lot.choice(HOSTILE) + ":1",
        domain=lot.choice(HOSTILE),
        prefix_text=lot.choice(HOSTILE),
        suffix_text=" ".join(lot.sample(HOSTILE, 3)),
        continuation_text=" ".join(lot.sample(HOSTILE, 3)),
    )


@pytest.fixture(scope="session")
def factory() -> Callable[..., tuple[dict[str, Any], list[WindowRecord]]]:
    """Return a maker of (report, records): family, verdict, strength of memory, hostile or not."""

    def make(
        family: str = "gpt",
        verdict: str = "found",
        strength: float = 1.0,
        hostile: bool = False,
        **changes: Any,
    ) -> tuple[dict[str, Any], list[WindowRecord]]:
        seed = sum(map(ord, family))
        records = build_records(seed, strength)
        report = build_report(records, family, verdict, **changes)
        if hostile:
            lot = random.Random(seed)
            report, records = poison(report, lot), [poison_record(r, lot) for r in records]
        return report, records

    return make
