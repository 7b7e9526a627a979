"""One tool of others over a corpus of planted items: its CPU time, and what it flags.

Run with the interpreter that has the tool: ``PYTHON contamination_peers.py TOOL CORPUS BENCHMARK --seconds N``. Needs
nothing else than the tool; stops after that much CPU time and says how far it came; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

Search = Callable[[str], set[int] | bool]
"""Items that stand in a document, or only whether any does."""


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def grams(split: list[str], n: int = 13) -> list[str]:
    return [" ".join(split[i : i + n]) for i in range(len(split) - n + 1)]


def by_gram(items: list[str]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for number, item in enumerate(items):
        for gram in grams(words(item)):
            found.setdefault(gram, set()).add(number)
    return found


def python_set(items: list[str]) -> Search:
    """Look every 13-gram up in a Python dictionary of the items' 13-grams: the rule of the Pile."""
    known = by_gram(items)
    return lambda text: set().union(*(known[gram] for gram in grams(words(text)) if gram in known))


def in_loop(items: list[str]) -> Search:
    """Ask of every item whether its lower-case text is a substring, as BigCode's decontamination does."""
    lowered = [item.lower() for item in items]

    def search(text: str) -> set[int]:
        text = text.lower()
        return {number for number, item in enumerate(lowered) if item in text}

    return search


def ahocorasick(items: list[str]) -> Search:
    """Search all 13-grams at once with an Aho-Corasick automaton over normalised text."""
    from ahocorasick_rs import AhoCorasick, Implementation

    known = by_gram(items)
    patterns = [f" {gram} " for gram in known]
    owners = list(known.values())
    automaton = AhoCorasick(patterns, implementation=Implementation.ContiguousNFA)

    def search(text: str) -> set[int]:
        normal = f" {' '.join(words(text))} "
        return set().union(*(owners[k] for k, _, _ in automaton.find_matches_as_indexes(normal, overlapping=True)))

    return search


def janitor(items: list[str]) -> Search:
    """Clean documents with lm-evaluation-harness's Janitor; its file alone, since the package imports torch."""
    package = importlib.util.find_spec("lm_eval")
    assert package and package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "decontamination" / "janitor.py"
    spec = importlib.util.spec_from_file_location("janitor", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        spec.loader.exec_module(module)
    cleaner = module.Janitor()
    for item in items:
        cleaner.register_contaminant_python(item)
    # A clean document of up to 200 characters comes back as [], like one that is too dirty: not held against it.
    return lambda text: cleaner.clean_python(text) != [text] and len(text) > 200


def datatrove(items: list[str]) -> Search:
    """Filter with NGramsDecontFilter at its own settings.

    Its indexer raises TypeError with current lighteval, so the index is made here, with the filter's own tokenizer
    and hashes.
    """
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    decontaminate = NGramsDecontFilter(".")
    index = {}
    for item in items:
        tokens = decontaminate.tokenizer.word_tokenize(simplify_text(item, decontaminate.config.norm_config))
        for gram in map(" ".join, ngrams(tokens, decontaminate.config.n_grams)):
            index[decontaminate.hash_func(gram)] = "items"
    decontaminate._index_hashes = index

    def search(text: str) -> bool:
        return decontaminate.filter(Document(text=text, id="")) is not True

    return search


TOOLS = {
    "python-set": python_set,
    "in-loop": in_loop,
    "ahocorasick": ahocorasick,
    "janitor": janitor,
    "datatrove": datatrove,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one decontamination tool and list what it flags.")
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    items = [json.loads(line)["text"] for line in options.benchmark.open(encoding="utf-8")]
    documents = [json.loads(line)["text"] for line in options.corpus.open(encoding="utf-8")]
    before = time.process_time()
    search = TOOLS[options.tool](items)
    setup = time.process_time() - before
    found: set[int] = set()
    flagged = []
    read = 0
    level = "document"
    started = time.process_time()
    for read, text in enumerate(documents, 1):
        hits = search(text)
        if hits:
            flagged.append(read)
        if isinstance(hits, set):
            level = "item"
            found |= hits
        if time.process_time() - started > options.seconds:
            break
    seconds = time.process_time() - started
    size = sum(len(text.encode()) for text in documents[:read])
    result = {
        "setup": setup,
        "seconds": seconds,
        "bytes": size,
        "documents": read,
        "level": level,
        "items": sorted(number + 1 for number in found),
        "flagged": flagged,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
