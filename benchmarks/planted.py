"""A corpus and a benchmark of known contamination, made from the text that this machine already has.

``python benchmarks/planted.py --out DIR`` takes Python's documentation and sources, manual pages and package
documents, cuts them into documents, and hides benchmark items in some of them, each in a known way:

* ``corpus.jsonl`` and ``slice.jsonl`` (its first lines, for slow tools), ``benchmark.jsonl``, ``truth.jsonl``:
  planted items by class, and absent ones, which are natural passages of files that are not in the corpus;
* ``extra-*.jsonl``: disguises and layouts, in a small corpus of their own;
* ``boilerplate-*.jsonl``: benchmark and slice again, with one sentence added to some items and half the documents.

No two items share an 8-gram; a planted item has none in the corpus before planting; an absent one shares fewer
than half of its own. Words are counted by a rule of this file, not by memaudit's. The same seed over the same
texts gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import random
import re
import site
import sysconfig
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from glob import glob
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray
from planted_edits import EXTRA, PLANTED, Edit

GRAM = 8
ABSENT = "absent"
CLASSES = {"verbatim": 150, "spacing": 150, "edited": 150, "short": 150, "unicode": 100, ABSENT: 300}
BOILERPLATE = (
    "This material is provided as is for information only, without warranty of any kind, and may be passed on"
    " under the same terms provided that this notice stays in place."
)
_SUFFIXES = re.compile(r"\.(?:pyi?|txt|md|rst|html)(?:\.gz)?$|\.[1-9]\w*\.gz$|/[A-Za-z-]+\.gz$")
_LARGEST = 1 << 20
_READY = "plan.json"
_STOPWORDS = re.compile(
    "an?|and|are|as|be|by|can|for|from|i[fnst]|it|not|o[fnr]|that|th[eist]+|to|used|when|with", re.I
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything to make."""

    seed: int = 1
    megabytes: float = 150
    slice_megabytes: float = 20
    classes: dict[str, int] = field(default_factory=lambda: dict(CLASSES))
    extra_each: int = 20
    extra_short_absent: int = 100
    boilerplate_items: float = 0.05


@dataclass(slots=True)
class Passage:
    """A stretch of prose of a held-out text, and the share of its 8-grams that stand in the corpus."""

    text: str
    grams: NDArray[np.int64]
    overlap: float = 0.0


def default_globs() -> list[str]:
    """Return patterns of the places where a machine with Python keeps text for people to read."""
    paths = sysconfig.get_paths()
    folders = {paths["stdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()}
    return [f"{folder}/**" for folder in sorted(folders)] + ["/usr/share/doc/**", "/usr/share/man/**"]


def texts_of(globs: Iterable[str], rng: random.Random) -> Iterator[str]:
    """Yield every distinct readable text once, in a random order that the seed and the file names decide."""
    found = {name for pattern in globs for name in glob(pattern, recursive=True)}  # noqa: PTH207, absolute ones too
    names = sorted(name for name in found if _SUFFIXES.search(name) and "pydoc_data" not in name)
    topic_texts = [topics[name] for name in sorted(topics)]
    order = list(range(-len(topic_texts), len(names)))
    rng.shuffle(order)
    seen: set[str] = set()
    for place in order:
        text = topic_texts[place] if place < 0 else _read(Path(names[place]))
        if text and text not in seen:
            seen.add(text)
            yield text


def _read(path: Path) -> str:
    """Return the text of a file without its markup; empty if it is no UTF-8 text, or too large."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode() if len(data) <= _LARGEST else ""
    except (OSError, EOFError, UnicodeDecodeError):
        return ""
    if ".html" in path.suffixes:
        return html.unescape(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", "", text))
    return _manual(text) if re.search(r"\.[1-9]\w*\.gz$", path.name) else text


_REQUESTS = "TH|SH|SS|PP|P|TP|IP|B|I|BR|RB|IR|RI|RS|RE|br|sp|nf|fi|ad|nh|ft|de|ie|el|if"
_GLYPHS = {"lq": "“", "rq": "”", "oq": "‘", "cq": "’", "aq": "'", "dq": '"', "em": "—", "en": "–", "bu": "•", "co": "©"}
_ROFF = [
    (re.compile(rf"(?m)^[.'](?:\\\".*|(?:{_REQUESTS})\b ?)"), ""),
    (re.compile(r"\\f(?:\[\w*\]|\(..|.)|\\s[-+]?\d|\\[&:%,/^|)]"), ""),
    *((re.compile(rf"\\\({name}"), glyph) for name, glyph in _GLYPHS.items()),
    (re.compile(r"\\([- '`.])"), r"\1"),
    (re.compile(r"\\e"), r"\\"),
]


def _manual(text: str) -> str:
    for pattern, replacement in _ROFF:
        text = pattern.sub(replacement, text)
    return text


def cut(text: str, rng: random.Random) -> Iterator[str]:
    """Yield a text in pieces of log-normal size that end where lines end: 4,000 characters on average, or the text."""
    first = 0
    while first < len(text):
        size = max(200, round(rng.lognormvariate(8.3, 0.9)))
        last = text.find("\n", first + size) + 1 or len(text)
        piece = text[first : last if len(text) - last > 200 else len(text)]
        first += len(piece)
        if piece.strip():
            yield piece.strip()


def words_of(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits after NFKC and case folding."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("\u00ad", "")
    return re.findall(r"[^\W_]+", text.casefold())


def grams_of(words: list[str]) -> NDArray[np.int64]:
    """Return a hash of every 8-gram; equal ones have equal hashes within one process."""
    hashes = np.fromiter(map(hash, words), dtype=np.int64, count=len(words))
    length = len(words) - GRAM + 1
    if length < 1:
        return np.empty(0, dtype=np.int64)
    total = np.zeros(length, dtype=np.int64)
    for k in range(GRAM):
        total = total * np.int64(0x9E3779B97F4A7C1) + hashes[k : k + length]
    return total


def passages(text: str, rng: random.Random, short: bool) -> Iterator[str]:
    """Yield up to two stretches of English prose of different paragraphs: sentences if short, or 40 to 80 words."""
    least, most = (8, 12) if short else (40, 80)
    paragraphs = re.split(r"\n\s*\n", text)
    rng.shuffle(paragraphs)
    found = 0
    for paragraph in paragraphs:
        flat = re.sub(r"\s+", " ", re.sub(r"(?m)^[\s#*/>|.:\"'-]+", "", paragraph)).strip()
        sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", flat)
        start = rng.randrange(len(sentences))
        passage = sentences[start] if short else _first_words(" ".join(sentences[start:]), rng.randint(least, most))
        whole = not short or re.fullmatch(r"[A-Z].*[.!?]", passage)
        if whole and least <= len(words_of(passage)) <= most and _is_prose(passage):
            yield passage
            found += 1
            if found == 2:
                return


def _first_words(text: str, count: int) -> str:
    split = text.split(" ")
    ends = np.cumsum([len(words_of(word)) for word in split])
    return " ".join(split[: int(np.searchsorted(ends, count)) + 1])


def _is_prose(text: str) -> bool:
    if re.search(r"[{}=\\|<>]|\w[_(]|\b(?:def|import|class|self)\b", text):
        return False
    words = text.split()
    plain = sum(bool(re.fullmatch(r"[A-Z]?[a-z]+[.,;:!?]?", word)) for word in words)
    common = sum(bool(_STOPWORDS.fullmatch(word)) for word in words)
    return plain >= 0.75 * len(words) and common >= 0.15 * len(words) and len(set(words)) >= 0.6 * len(words)


def _distinct(texts: Iterable[str], seen: set[int]) -> list[Passage]:
    """Keep the passages that share no 8-gram with an earlier one, nor repeat one of their own."""
    kept = []
    for text in texts:
        grams = grams_of(words_of(text))
        own = set(grams.tolist())
        if len(own) == len(grams) and not own & seen:
            seen |= own
            kept.append(Passage(text, grams))
    return kept


def measure_overlap(passages: list[Passage], documents: list[str]) -> None:
    """Fill in which share of each passage's 8-grams stands in the documents."""
    wanted = np.sort(np.concatenate([p.grams for p in passages]))
    present = np.zeros(len(wanted), dtype=bool)
    for first in range(0, len(documents), 256):
        grams = [grams_of(words_of(document)) for document in documents[first : first + 256]]
        every = np.concatenate(grams)
        places = np.searchsorted(wanted, every).clip(max=len(wanted) - 1)
        present[places[wanted[places] == every]] = True
    for passage in passages:
        passage.overlap = float(present[np.searchsorted(wanted, passage.grams)].mean())


def plant(document: str, copy: str, rng: random.Random) -> str:
    """Insert a copy between two lines or two words of a document."""
    separator = rng.choice("\n ")
    places = [m.start() for m in re.finditer(separator, document)] or [len(document)]
    place = rng.choice(places)
    return f"{document[:place]}{separator}{copy}{separator}{document[place:].lstrip(separator)}"


@dataclass(slots=True)
class Material:
    """What a fixture is made of."""

    documents: list[str]
    extra_documents: list[str]
    passages: dict[bool, list[Passage]]
    """Long ones and short ones (True), in random order."""
    vocabulary: list[str]


def gather(plan: Plan, globs: Iterable[str]) -> Material:
    """Read texts until there are enough documents, and enough passages of other texts."""
    rng = random.Random(plan.seed)
    extra = plan.extra_each * len(EXTRA)
    need = {
        False: 4 * (sum(plan.classes.values()) + extra),
        True: 4 * (plan.classes.get("short", 0) + plan.extra_short_absent),
    }
    found: dict[bool, list[str]] = {False: [], True: []}
    documents: dict[str, int] = {}
    vocabulary: set[str] = set()
    size, enough = 0.0, plan.megabytes * 1e6 + 4 * extra * 10_000
    for text in texts_of(globs, rng):
        short = len(found[True]) * need[False] < len(found[False]) * need[True]
        if rng.random() < 0.5 and len(found[short]) < need[short] and (new := list(passages(text, rng, short))):
            found[short] += new
            vocabulary.update(w for w in words_of(text) if w.isascii() and w.isalpha())
            continue
        for document in cut(text, rng):
            if document not in documents:
                documents[document] = len(_record(99_999, document).encode())
                size += documents[document]
        if size >= enough and all(len(found[kind]) >= need[kind] for kind in need):
            break
    order = list(documents)
    rng.shuffle(order)
    last = int(np.searchsorted(np.cumsum([documents[d] for d in order]), plan.megabytes * 1e6))
    corpus, others = order[:last], order[last : last + 4 * extra]
    seen: set[int] = set()
    kept = {kind: _distinct(found[kind], seen) for kind in (True, False)}
    measure_overlap(kept[True] + kept[False], corpus + others)
    return Material(corpus, others, kept, sorted(vocabulary))


def _record(number: int, text: str, **more: Any) -> str:
    return json.dumps({"id": number, "text": text, **more}, ensure_ascii=False) + "\n"


def _draw(material: Material, kind: str, count: int) -> list[Passage]:
    """Take passages of a class out of the material."""
    pool = material.passages[kind in {"short", f"{ABSENT} short"}]
    fits = [p for p in pool if (p.overlap < 0.5 if kind.startswith(ABSENT) else p.overlap == 0)][:count]
    if len(fits) < count:
        raise SystemExit(f"planted.py: only {len(fits)} of {count} passages for {kind!r}: give more text with --text")
    taken = set(map(id, fits))
    material.passages[kind in {"short", f"{ABSENT} short"}] = [p for p in pool if id(p) not in taken]
    return fits


@dataclass(slots=True)
class Fixture:
    """A benchmark, the corpus it was planted in, and where."""

    documents: list[str]
    items: list[str]
    kinds: list[str]
    overlaps: list[float]
    places: list[int | None]
    """Number of the document that holds each item, from 0; none for an absent one."""

    def write(self, folder: Path, corpus: str, benchmark: str, truth: str | None) -> None:
        """Write the corpus, the benchmark and what is true of it."""
        (folder / corpus).write_text("".join(_record(n, d) for n, d in enumerate(self.documents, 1)), encoding="utf-8")
        rows = [_record(n, text) for n, text in enumerate(self.items, 1)]
        (folder / benchmark).write_text("".join(rows), encoding="utf-8")
        if truth:
            places = [None if at is None else f"{corpus}:{at + 1}" for at in self.places]
            lines = [
                json.dumps({"id": n, "class": kind, "overlap": overlap, "document": place})
                for n, (kind, overlap, place) in enumerate(zip(self.kinds, self.overlaps, places, strict=True), 1)
            ]
            (folder / truth).write_text("\n".join(lines) + "\n", encoding="utf-8")


def plant_all(
    material: Material, documents: list[str], hosts: int, counts: dict[str, int], edits: dict[str, Edit], seed: int
) -> Fixture:
    """Draw the items of every class and plant each copy in a document of its own among the first ``hosts``."""
    rng = random.Random(seed)
    drawn = [(kind, passage) for kind, count in counts.items() for passage in _draw(material, kind, count)]
    rng.shuffle(drawn)
    planted = sum(kind in edits for kind, _ in drawn)
    if planted > hosts:
        raise SystemExit(f"planted.py: {planted} items to plant, but only {hosts} documents: make a larger corpus")
    free = iter(rng.sample(range(hosts), planted))
    fixture = Fixture(
        documents.copy(), [p.text for _, p in drawn], [k for k, _ in drawn], [p.overlap for _, p in drawn], []
    )
    for kind, passage in drawn:
        at = next(free) if kind in edits else None
        fixture.places.append(at)
        if at is not None:
            fixture.documents[at] = plant(documents[at], edits[kind](passage.text, rng, material.vocabulary), rng)
    return fixture


def with_boilerplate(fixture: Fixture, share: float, seed: int) -> Fixture:
    """Add one sentence to a share of the items and to half of the documents."""
    rng = random.Random(seed)
    items, documents = fixture.items.copy(), fixture.documents.copy()
    for place in rng.sample(range(len(items)), round(share * len(items))):
        items[place] += f" {BOILERPLATE}"
    for place in rng.sample(range(len(documents)), len(documents) // 2):
        documents[place] += f"\n\n{BOILERPLATE}\n"
    return Fixture(documents, items, fixture.kinds, fixture.overlaps, fixture.places)


def generate(folder: Path, plan: Plan, globs: Iterable[str] = ()) -> None:
    """Write all files of a fixture, unless they stand there already.

    Args:
        folder: Where they go; made if need be.
        plan: Seed and sizes.
        globs: Patterns of the files to take text from; those of ``default_globs`` if empty.
    """
    if is_ready(folder, plan):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _READY).unlink(missing_ok=True)
    material = gather(plan, list(globs) or default_globs())
    sizes = np.cumsum([len(_record(n, d).encode()) for n, d in enumerate(material.documents, 1)])
    hosts = int(np.searchsorted(sizes, plan.slice_megabytes * 1e6))
    fixture = plant_all(material, material.documents, hosts, plan.classes, PLANTED, plan.seed + 1)
    fixture.write(folder, "corpus.jsonl", "benchmark.jsonl", "truth.jsonl")
    part = Fixture(fixture.documents[:hosts], fixture.items, fixture.kinds, fixture.overlaps, fixture.places)
    part.write(folder, "slice.jsonl", "benchmark.jsonl", None)
    changed = with_boilerplate(part, plan.boilerplate_items, plan.seed + 2)
    changed.write(folder, "boilerplate-corpus.jsonl", "boilerplate-benchmark.jsonl", None)
    counts = dict.fromkeys(EXTRA, plan.extra_each) | {f"{ABSENT} short": plan.extra_short_absent}
    others = material.extra_documents
    extra = plant_all(material, others, len(others), counts, EXTRA, plan.seed + 3)
    extra.write(folder, "extra-corpus.jsonl", "extra-benchmark.jsonl", "extra-truth.jsonl")
    (folder / _READY).write_text(json.dumps(asdict(plan)), encoding="utf-8")


def is_ready(folder: Path, plan: Plan) -> bool:
    """Return whether a folder holds all files of this plan."""
    mark = folder / _READY
    return mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == asdict(plan)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a corpus and benchmark of known contamination.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument("--megabytes", type=float, default=Plan().megabytes)
    parser.add_argument("--text", action="append", default=[], metavar="GLOB", help="files to take text from")
    options = parser.parse_args()
    generate(options.out, Plan(seed=options.seed, megabytes=options.megabytes), options.text)


if __name__ == "__main__":
    main()
