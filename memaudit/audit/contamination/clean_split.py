"""A benchmark as two: the items that stand in the corpus, and the others.

Records are copied byte for byte, so that whoever loads the benchmark loads either half in the same way.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from memaudit.audit.contamination.benchmark import benchmark_sources, open_records
from memaudit.errors import InputError, RunError
from memaudit.files import SPLIT, strict_json, write_atomic
from memaudit.text.containers import COMPRESSED, split_lines
from memaudit.text.formats import json_elements
from memaudit.text.read import FileDigest
from memaudit.text.specs import CorpusFile

_Record = TypeVar("_Record", str, bytes)


@dataclass(frozen=True, slots=True)
class CleanSplit:
    """The two halves of a benchmark, one pair of files for each of its files."""

    clean: list[Path]
    contaminated: list[Path]
    clean_records: int
    """Records of the clean files: all that are not contaminated, whether they were judged or not."""
    contaminated_records: int
    not_judged: int
    """Clean records that nothing is known about: too short to be judged, empty, or unreadable."""

    @property
    def files(self) -> list[Path]:
        """All that was written."""
        return [path for pair in zip(self.clean, self.contaminated, strict=True) for path in pair]


def write_clean_split(
    paths: Sequence[str],
    contaminated: Collection[int],
    folder: Path,
    *,
    judged: Collection[int] | None = None,
    files: Sequence[FileDigest] | None = None,
    kept: Sequence[str] = (),
    max_expand: int | None = None,
) -> CleanSplit:
    """Write the clean and the contaminated records of a benchmark as files of the format they came in.

    Lines of JSON or text and records of CSV and TSV keep their bytes (both files get the header), elements of a
    JSON document theirs, Parquet and Arrow files their schema. What was compressed is written plainly; blank lines
    are no records. One file gives ``clean.jsonl`` and ``contaminated.jsonl``, each of several files
    ``clean-NAME.jsonl`` and ``contaminated-NAME.jsonl``. Beside them ``split.json`` names them: a pattern of a corpus
    that matches them by chance is refused.

    Args:
        paths: What `read_benchmark` was given.
        contaminated: Numbers of the contaminated items; every other record is written as clean.
        folder: Created when absent; halves that were written there before are replaced.
        judged: Numbers of the items that were judged; None: all records were.
        files: What `read_benchmark` found, to refuse a file that has changed since.
        kept: Other files that must not be overwritten, such as those of the corpus.
        max_expand: As for `read_benchmark`.

    Raises:
        InputError: A file has changed, cannot be split, or one would be overwritten.
        RunError: A file cannot be written.
        ValueError: A number is that of no record.
    """
    targets = split_targets(paths, folder, kept)
    numbers = frozenset(contaminated)
    written: list[tuple[Path, bytes]] = []
    total = 0
    for place, (source, *pair) in enumerate(targets):
        stream, rows = open_records(source, max_expand)
        places = [(where, row is not None) for where, row in rows]
        if files is not None and files[place]["sha256"] != stream.sha256:
            raise InputError(f"{source}: changed since it was checked", "check it again")
        count = sum(is_record for _, is_record in places)
        chosen = [total + number in numbers for number in range(1, count + 1)]
        written += zip(pair, _halves(source, places, chosen, max_expand), strict=True)
        total += count
    records = set(range(1, total + 1))
    if not numbers <= records:
        raise ValueError(f"of {total} records, none has the number {max(numbers)}")
    _write(folder, written)
    return CleanSplit(
        clean=[clean for _, clean, _ in targets],
        contaminated=[dirty for _, _, dirty in targets],
        clean_records=total - len(numbers),
        contaminated_records=len(numbers),
        not_judged=0 if judged is None else len(records - numbers - set(judged)),
    )


def split_targets(paths: Sequence[str], folder: Path, kept: Sequence[str] = ()) -> list[tuple[CorpusFile, Path, Path]]:
    """Return every file of a benchmark with the files of its clean and of its contaminated records.

    Call it before a long search, to learn early what `write_clean_split` would refuse.

    Args:
        paths: What `read_benchmark` was given.
        folder: Where the halves go.
        kept: Other files that must not be overwritten, such as those of the corpus.

    Raises:
        InputError: A file is missing or cannot be split, or one would be overwritten.
    """
    sources = benchmark_sources(paths)
    targets: list[tuple[CorpusFile, Path, Path]] = []
    taken: set[str] = set()
    for source in sources:
        if not isinstance(source, CorpusFile) or source.kept or source.format == "warc":
            raise InputError(f"{source}: only files of records can be split", "save it to a file of records first")
        path = Path(source.name)
        path = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
        ending = f"-{path.stem}" if len(sources) > 1 else ""
        while f"{ending}{path.suffix}" in taken:
            ending += "-again"
        taken.add(f"{ending}{path.suffix}")
        clean, dirty = (folder / f"{half}{ending}{path.suffix}" for half in ("clean", "contaminated"))
        targets.append((source, clean, dirty))
    there = [target for _, *pair in targets for target in pair if target.exists()]
    for name in [*map(str, sources), *kept] if there else []:
        if Path(name).exists() and any(target.samefile(name) for target in there):
            raise InputError(f"{name}: the split would overwrite it", "choose another folder")
    return targets


def _halves(
    source: CorpusFile, places: Sequence[tuple[str, bool]], contaminated: Sequence[bool], max_expand: int | None
) -> list[bytes]:
    """Return the clean and the contaminated half of a file.

    Args:
        source: The file.
        places: Where each of its rows stands, and whether that is a record.
        contaminated: For every record, whether it is.
        max_expand: As for `read_benchmark`.
    """
    if source.format in {"parquet", "arrow"}:
        return _table_halves(source, contaminated)
    lines = list(split_lines(iter(source.open(max_expand)), source.name))
    if source.format == "json":
        return _document_halves(b"\n".join(lines).decode(), source.name, contaminated)
    head, records = _line_records(lines, places)
    return [b"".join(line + b"\n" for line in [*head, *half]) for half in _divided(records, contaminated)]


def _divided(records: Sequence[_Record], contaminated: Sequence[bool]) -> list[list[_Record]]:
    """Return the clean and the contaminated records, each in their order."""
    pairs = list(zip(records, contaminated, strict=True))
    return [[record for record, is_contaminated in pairs if is_contaminated == wanted] for wanted in (False, True)]


def _line_records(lines: Sequence[bytes], places: Sequence[tuple[str, bool]]) -> tuple[list[bytes], list[bytes]]:
    """Return the lines before the records, which are a header, and the records, some of several lines."""
    starts = [int(place) - 1 for place, _ in places] + [len(lines)]
    head, records = list(lines[: starts[0]]), []
    for (_, is_record), start, end in zip(places, starts, starts[1:], strict=False):
        if is_record:
            records.append(b"\n".join(lines[start:end]))
        else:
            head += lines[start + 1 : end]
    return head, records


def _document_halves(text: str, name: str, contaminated: Sequence[bool]) -> list[bytes]:
    """Return the elements of a JSON array, as they are written, as two arrays; without an array, as two sequences."""
    starts = [start for start, _ in json_elements(text, name)]
    is_array = text.lstrip().startswith("[")
    decoder = json.JSONDecoder(strict=False)
    elements = [text[start : decoder.raw_decode(text, start)[1]] for start in starts]
    halves = _divided(elements, contaminated)
    if is_array:
        return [("[\n" + ",\n".join(half) + "\n]\n").encode() for half in halves]
    return ["".join(f"{element}\n" for element in half).encode() for half in halves]


def _table_halves(source: CorpusFile, contaminated: Sequence[bool]) -> list[bytes]:
    import pyarrow
    from pyarrow import compute, ipc, parquet

    if source.format == "parquet":
        table = parquet.ParquetFile(source.path).read()
    else:
        with pyarrow.memory_map(source.path) as file:
            in_file = file.read(6) == b"ARROW1"
            file.seek(0)
            table = (ipc.open_file(file) if in_file else ipc.open_stream(file)).read_all()
    chosen = pyarrow.array(contaminated, pyarrow.bool_())
    halves = []
    for mask in (compute.invert(chosen), chosen):
        buffer = io.BytesIO()
        if source.format == "parquet":
            parquet.write_table(table.filter(mask), buffer)
        else:
            with (ipc.new_file if in_file else ipc.new_stream)(buffer, table.schema) as writer:
                writer.write_table(table.filter(mask))
        halves.append(buffer.getvalue())
    return halves


def _write(folder: Path, files: Sequence[tuple[Path, bytes]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {folder}: {error.strerror}", "choose another folder") from error
    names = sorted(path.name for path, _ in files)
    write_atomic(folder / SPLIT, strict_json({"tool": "memaudit", "kind": "split", "files": names}))
    for path, data in files:
        write_atomic(path, data)
