"""From the files of a corpus to a folder of shards: one pass, one shard in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.runs.provenance import version
from memaudit.text.corpus.containers import ByteStream
from memaudit.text.corpus.objects import HeldRows
from memaudit.text.corpus.read import Corpus
from memaudit.text.corpus.specs import CorpusFile
from memaudit.text.index import manifest as manifests
from memaudit.text.index.shard import MAX_SYMBOLS, ShardBuilder, file_digests
from memaudit.text.index.units import Keys, Unit

BATCH = 1 << 20
"""Characters whose symbols are found at once."""


def write_index(
    corpus: Corpus, out: Path, rule: Unit, options: Mapping[str, Any], shard_symbols: int, log: Callable[[str], None]
) -> None:
    """Write the shards of a corpus and then the manifest; do nothing where the same index lies there already.

    Args:
        corpus: Read once.
        out: Folder of the index; created when absent.
        rule: What a symbol is.
        options: How the corpus is read: what makes it another corpus.
        shard_symbols: Most symbols of a shard, one for the end of each document included; below 2^31.
        log: Called with a line for every finished shard.

    Raises:
        InputError: See `memaudit.text.index.corpus_index.build_index`.
    """
    if not 1 <= shard_symbols <= MAX_SYMBOLS:
        raise InputError(f"a shard holds 1 to {MAX_SYMBOLS:,} symbols, not {shard_symbols:,}")
    plan = {"unit": rule.name, "rule": rule.version, "options": {**options, "shard_symbols": shard_symbols}}
    with manifests.held(out):
        if (out / manifests.MANIFEST).exists():
            _refuse_other_plan(out, plan, corpus)
            log(f"{out}: this index is there already")
            return
        manifests.clear(out)
        try:
            about = _write(corpus, out, rule, shard_symbols, log)
            manifests.write(out, plan | about)
        except OSError as error:
            problem = f"{error.filename or out}: {error.strerror}"
            raise InputError(problem, "when that is fixed, run the same command again") from error


def _write(corpus: Corpus, out: Path, rule: Unit, most: int, log: Callable[[str], None]) -> dict[str, Any]:
    """Write everything but the manifest, and return what that says beside the plan."""
    kind = manifests.store_tokenizer(out, rule)
    domains: dict[str, int] = {}
    shards = [
        {"documents": documents, "symbols": symbols, "files": files}
        for documents, symbols, files in _write_shards(corpus, out, rule, most, domains, log)
    ]
    return {
        "format": manifests.FORMAT,
        "memaudit": version(),
        "tokenizer": kind,
        "domains": list(domains),
        "corpus": corpus.summary(),
        "shards": shards,
    }


def _write_shards(
    corpus: Corpus, out: Path, rule: Unit, most: int, domains: dict[str, int], log: Callable[[str], None]
) -> Iterator[tuple[int, int, dict[str, dict[str, Any]]]]:
    """Write the shards of a corpus; yield documents, symbols and files of each."""
    number = 0
    builder = _new_builder(out, number, rule)
    try:
        for document, keys in _encoded(corpus, rule):
            if len(keys) >= most:
                problem = f"{document.source}: a document of {len(keys):,} {rule.name}s"
                raise InputError(problem, f"a shard holds {most:,} symbols: cut it into smaller documents")
            if len(builder) + len(keys) + 1 > most:
                yield _finished(builder, out, number, rule, log)
                number += 1
                builder = _new_builder(out, number, rule)
            place = -1 if document.domain is None else domains.setdefault(document.domain, len(domains))
            builder.add(document, keys, place)
        yield _finished(builder, out, number, rule, log)
    finally:
        builder.close()


def _encoded(corpus: Corpus, rule: Unit) -> Iterator[tuple[Document, Keys]]:
    """Yield every document with its keys, which are found for many at once."""
    batch: list[Document] = []
    size = 0
    for document in corpus:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH:
            yield from _encode(batch, rule)
            batch, size = [], 0
    yield from _encode(batch, rule)


def _encode(batch: Sequence[Document], rule: Unit) -> Iterator[tuple[Document, Keys]]:
    keys, offsets = rule.keys([document.text for document in batch])
    for i, document in enumerate(batch):
        yield document, keys[offsets[i] : offsets[i + 1]]


def _new_builder(out: Path, number: int, rule: Unit) -> ShardBuilder:
    return ShardBuilder(out / manifests.shard_name(number), by_vocabulary=rule.name == "word")


def _finished(
    builder: ShardBuilder, out: Path, number: int, rule: Unit, log: Callable[[str], None]
) -> tuple[int, int, dict[str, dict[str, Any]]]:
    shard = builder.finish()
    log(f"shard {number}: {shard.size:,} {rule.name}s of {len(shard):,} documents")
    return len(shard), shard.size, file_digests(out / manifests.shard_name(number))


def _refuse_other_plan(out: Path, plan: dict[str, Any], corpus: Corpus) -> None:
    """Refuse a folder whose index is of another plan or of files that have changed since."""
    stored, _ = manifests.read(out)
    specs = [part.spec for part in corpus.parts]
    differing = [name for name in plan if stored[name] != plan[name]]
    if stored["corpus"]["specs"] != specs or stored["corpus"].get("read_as", {}) != corpus.read_as():
        differing.append("corpus")
    if differing:
        names = ", ".join(f"{name} differs" for name in differing)
        raise InputError(f"{out}: holds another index: {names}", "choose another --out or delete it")
    told = {file["path"]: file["sha256"] for file in stored["corpus"]["files"]}
    for source in (source for part in corpus.parts for source in part.sources):
        if isinstance(source, HeldRows) and corpus.digest(source) != told.get(source.name):
            raise InputError(f"{out}: was built of another {source.name}", "choose another --out or delete it")
    kept = {str(source): source.path for part in corpus.parts for source in part.sources
            if isinstance(source, CorpusFile)}  # fmt: skip
    for file in stored["corpus"]["files"]:
        path = kept.get(file["path"], file["path"])
        if not Path(path).is_file():
            continue  # a data set of the hub, which its revision identifies
        stream = ByteStream(file["path"], path=path)
        for _ in stream.raw():
            pass
        if stream.sha256 != file["sha256"]:
            problem = f"{out}: was built before {file['path']} changed"
            raise InputError(problem, "delete the index and build it again")
