"""A benchmark as three: the items that occur in the corpus, those that do not, and those that were not decided.

Records are copied byte for byte, so that whoever loads the benchmark loads any part in the same way.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from memaudit.audits.benchmark.items import benchmark_sources, open_records
from memaudit.errors import InputError, RunError
from memaudit.runs.files import SPLIT, strict_json, write_atomic
from memaudit.runs.parts import FileDigest
from memaudit.text.corpus.containers import COMPRESSED, split_lines
from memaudit.text.corpus.json_format import json_elements
from memaudit.text.corpus.objects import Listed
from memaudit.text.corpus.specs import CorpusFile

_Record = TypeVar("_Record", str, bytes)

Kind = Literal["clean", "contaminated", "undecided"]
KINDS: tuple[Kind, ...] = ("clean", "contaminated", "undecided")


@dataclass(frozen=True, slots=True)
class CleanSplit:
    """The parts of a benchmark, one file of each kind for each of its files."""

    clean: list[Path]
    contaminated: list[Path]
    undecided: list[Path]
    clean_records: int
    contaminated_records: int
    undecided_records: int
    """Records that nothing is known about: too short or generic to be judged, empty, unreadable, or of a search that
    was not whole."""

    @property
    def files(self) -> list[Path]:
        """All that was written."""
        return [path for same in zip(self.clean, self.contaminated, self.undecided, strict=True) for path in same]


def write_clean_split(
    paths: Listed,
    contaminated: Collection[int],
    folder: Path,
    *,
    clean: Collection[int] | None = None,
    files: Sequence[FileDigest] | None = None,
    kept: Sequence[str] = (),
    max_expand: int | None = None,
) -> CleanSplit:
    """Write the clean, the contaminated and the undecided records of a benchmark in the format that they came in.

    Lines of JSON or text and records of CSV and TSV keep their bytes (all files get the header), elements of a
    JSON document theirs, Parquet and Arrow files their schema. What was compressed is written plainly; blank lines
    are no records. One file gives ``clean.jsonl``, ``contaminated.jsonl`` and ``undecided.jsonl``, each of several
    ``clean-NAME.jsonl`` and so on. Beside them ``split.json`` names them: a pattern of a corpus
    that matches them by chance is refused.

    Args:
        paths: What `read_benchmark` was given.
        contaminated: Numbers of the contaminated items.
        folder: Created when absent; parts that were written there before are replaced.
        clean: Numbers of the clean items; None: all that are not contaminated. Every other record is undecided.
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
    kinds: list[Kind] = []
    for place, (source, *parts) in enumerate(targets):
        stream, rows = open_records(source, max_expand)
        places = [(where, row is not None) for where, row in rows]
        if files is not None and files[place]["sha256"] != stream.sha256:
            raise InputError(f"{source}: changed since it was checked", "check it again")
        count = sum(is_record for _, is_record in places)
        chosen = [_kind(number, numbers, clean) for number in range(len(kinds) + 1, len(kinds) + count + 1)]
        written += zip(parts, _parts(source, places, chosen, max_expand), strict=True)
        kinds += chosen
    if not numbers <= set(range(1, len(kinds) + 1)):
        raise ValueError(f"of {len(kinds)} records, none has the number {max(numbers)}")
    _write(folder, written)
    return CleanSplit(
        **{kind: [parts[place] for _, *parts in targets] for place, kind in enumerate(KINDS)},
        clean_records=kinds.count("clean"),
        contaminated_records=kinds.count("contaminated"),
        undecided_records=kinds.count("undecided"),
    )


def _kind(number: int, contaminated: Collection[int], clean: Collection[int] | None) -> Kind:
    if number in contaminated:
        return "contaminated"
    return "clean" if clean is None or number in clean else "undecided"


def split_targets(paths: Listed, folder: Path, kept: Sequence[str] = ()) -> list[tuple[CorpusFile, Path, Path, Path]]:
    """Return every file of a benchmark with the files of its records of each kind, in the order of `KINDS`.

    Call it before a long search, to learn early what `write_clean_split` would refuse.

    Args:
        paths: What `read_benchmark` was given.
        folder: Where the parts go.
        kept: Other files that must not be overwritten, such as those of the corpus.

    Raises:
        InputError: A file is missing or cannot be split, or one would be overwritten.
    """
    sources = benchmark_sources(paths)
    targets: list[tuple[CorpusFile, Path, Path, Path]] = []
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
        clean, contaminated, undecided = (folder / f"{kind}{ending}{path.suffix}" for kind in KINDS)
        targets.append((source, clean, contaminated, undecided))
    there = [target for _, *parts in targets for target in parts if target.exists()]
    for name in [*map(str, sources), *kept] if there else []:
        if Path(name).exists() and any(target.samefile(name) for target in there):
            raise InputError(f"{name}: the split would overwrite it", "choose another folder")
    return targets


def _parts(
    source: CorpusFile, places: Sequence[tuple[str, bool]], kinds: Sequence[Kind], max_expand: int | None
) -> list[bytes]:
    """Return the records of a file of each kind, in the order of `KINDS`.

    Args:
        source: The file.
        places: Where each of its rows stands, and whether that is a record.
        kinds: Of every record.
        max_expand: As for `read_benchmark`.
    """
    if source.format in {"parquet", "arrow"}:
        return _table_parts(source, kinds)
    lines = list(split_lines(iter(source.open(max_expand)), source.name))
    if source.format == "json":
        return _document_parts(b"\n".join(lines).decode(), source.name, kinds)
    head, records = _line_records(lines, places)
    return [b"".join(line + b"\n" for line in [*head, *part]) for part in _divided(records, kinds)]


def _divided(records: Sequence[_Record], kinds: Sequence[Kind]) -> list[list[_Record]]:
    """Return the records of each kind, each in their order."""
    pairs = list(zip(records, kinds, strict=True))
    return [[record for record, kind in pairs if kind == wanted] for wanted in KINDS]


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


def _document_parts(text: str, name: str, kinds: Sequence[Kind]) -> list[bytes]:
    """Return the elements of a JSON array, as they are written, as arrays; without an array, as sequences."""
    starts = [start for start, _ in json_elements(text, name)]
    is_array = text.lstrip().startswith("[")
    decoder = json.JSONDecoder(strict=False)
    elements = [text[start : decoder.raw_decode(text, start)[1]] for start in starts]
    parts = _divided(elements, kinds)
    if is_array:
        return [("[\n" + ",\n".join(part) + "\n]\n").encode() for part in parts]
    return ["".join(f"{element}\n" for element in part).encode() for part in parts]


def _table_parts(source: CorpusFile, kinds: Sequence[Kind]) -> list[bytes]:
    import pyarrow
    from pyarrow import ipc, parquet

    if source.format == "parquet":
        table = parquet.ParquetFile(source.path).read()
    else:
        with pyarrow.memory_map(source.path) as file:
            in_file = file.read(6) == b"ARROW1"
            file.seek(0)
            table = (ipc.open_file(file) if in_file else ipc.open_stream(file)).read_all()
    parts = []
    for wanted in KINDS:
        mask = pyarrow.array([kind == wanted for kind in kinds], pyarrow.bool_())
        buffer = io.BytesIO()
        if source.format == "parquet":
            parquet.write_table(table.filter(mask), buffer)
        else:
            with (ipc.new_file if in_file else ipc.new_stream)(buffer, table.schema) as writer:
                writer.write_table(table.filter(mask))
        parts.append(buffer.getvalue())
    return parts


def _write(folder: Path, files: Sequence[tuple[Path, bytes]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {folder}: {error.strerror}", "choose another folder") from error
    names = sorted(path.name for path, _ in files)
    write_atomic(folder / SPLIT, strict_json({"tool": "memaudit", "kind": "split", "files": names}))
    for path, data in files:
        write_atomic(path, data)
