"""What a user names as a corpus: files, globs, standard input, ``json:``, ``text:`` and ``hf:`` specs, mixtures.

The name of a file is a guess at what it holds; what it holds decides, and where the two differ, that is said once.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from memaudit.config import did_you_mean
from memaudit.errors import InputError, one_line_of_both_ends
from memaudit.text.corpus.containers import ARCHIVES, COMPRESSED, ByteStream
from memaudit.text.corpus.formats import Format
from memaudit.text.corpus.objects import HeldRows
from memaudit.text.corpus.sniff import sniff
from memaudit.text.corpus.streams import is_stream, keep_stream

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".warc": "warc",
    ".wet": "warc",
}
_BACKUP = re.compile(r"(\.(bak|old|orig|[0-9]{1,4})|~)+$", re.IGNORECASE)
"""What copies and rotated files have behind their ending."""
_CALLED: dict[Format, str] = {
    "jsonl": "JSON lines",
    "json": "a JSON document",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "warc": "a web archive",
}
_log = logging.getLogger("memaudit")
_said: set[str] = set()


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file of a corpus."""

    name: str
    """Path as the user gave it, or as the glob found it."""
    format: Format
    by_content: bool = False
    """Whether its name stands for another format."""
    kept: str | None = None
    """Where it lies, if not under its name: what came through a pipe."""
    as_written: bool = False
    """Whether it was asked for as text, whatever it holds."""

    @property
    def path(self) -> str:
        """Where it lies."""
        return self.kept or self.name

    def open(self, max_expand: int | None = None) -> ByteStream:
        """Return its bytes, to be read once; ``max_expand`` is that of `ByteStream`."""
        return ByteStream(self.name, max_expand, self.path)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class HubDataset:
    """One split of a data set of the Hugging Face hub."""

    name: str
    config: str
    split: str

    def __str__(self) -> str:
        return f"hf:{self.name}:{self.config}:{self.split}"


Source = CorpusFile | HubDataset | HeldRows


@dataclass(frozen=True, slots=True)
class Part:
    """What one spec stands for."""

    spec: str
    domain: str | None
    sources: tuple[Source, ...]


def parse_spec(spec: str | HeldRows) -> Part:
    """Find what a spec stands for; what exists as a file under the whole spec wins over its other meanings.

    Args:
        spec: ``PATH``, ``GLOB``, ``-`` (standard input), ``json:PATH``, ``text:PATH`` (as it is written, whatever it
            holds), ``hf:NAME:CONFIG:SPLIT`` (CONFIG may be empty), or any of these as a part of a mixture,
            ``DOMAIN=SPEC``. An object stands for itself.

    Raises:
        InputError: Nothing is there, or it is a folder, an archive, no regular file, or neither records nor text.
    """
    if isinstance(spec, HeldRows):
        return Part(spec.spec, None, (spec,))
    named = re.match(r"([\w.-]+)=(.+)", spec)
    domain, spec_of = (named[1], named[2]) if named and not _find(spec) else (None, spec)
    sources = _sources(spec_of)
    _tell(sources)
    return Part(spec, domain, sources)


def contradicted(sources: Iterable[Source]) -> dict[str, Format]:
    """Return the files that are not read as what their names stand for, and as what they are."""
    return {s.name: s.format for s in sources if isinstance(s, CorpusFile) and s.by_content}


def real_path(source: Source) -> Path | int:
    """Return the one path of a file that may have several names, or the identity of an object."""
    if isinstance(source, HeldRows):
        return id(source.held)
    return Path(source.path if isinstance(source, CorpusFile) else str(source)).resolve()


def _tell(sources: Iterable[Source]) -> None:
    """Say once which files are not read as what their names stand for."""
    found: dict[Format, list[str]] = {}
    for name, file_format in contradicted(sources).items():
        found.setdefault(file_format, []).append(name)
    for file_format, names in found.items():
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        line = f"memaudit: {names[0]}{more}: read as {_CALLED[file_format]}, which it holds, not as its name says"
        if line not in _said:
            _said.add(line)
            _log.warning("%s", one_line_of_both_ends(line))


def _sources(spec: str) -> tuple[Source, ...]:
    if not _find(spec):
        if spec.startswith("hf:"):
            return (_hub_dataset(spec),)
        if spec.startswith("json:"):
            return tuple(_corpus_file(name, "json") for name in _existing(spec.removeprefix("json:")))
        if spec.startswith("text:"):
            return tuple(_corpus_file(name, "text") for name in _existing(spec.removeprefix("text:")))
    return tuple(_corpus_file(name) for name in _existing(spec))


def _find(pattern: str) -> list[str]:
    """Return the path itself if it exists, else what the glob matches, sorted.

    All of it, so that what cannot be read is refused and not passed over; only ``**`` passes over folders: it enters
    them.
    """
    try:
        if Path(pattern).exists():
            return [pattern]
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        return sorted(name for name in matches if not ("**" in pattern and Path(name).is_dir()))
    except OSError as error:
        raise InputError(f"{pattern}: {error.strerror}", _text_itself(pattern)) from error


def _existing(pattern: str) -> list[str]:
    if not pattern:
        raise InputError("an empty name is no file")
    if is_stream(pattern):
        return [pattern]
    found = _find(pattern)
    if found:
        return found
    if glob.has_magic(pattern):
        raise InputError(f"{pattern}: no file matches", _text_itself(pattern))
    if Path(pattern).is_symlink():
        return [pattern]
    folder = Path(pattern).parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    raise InputError(f"{pattern}: no such file", did_you_mean(Path(pattern).name, names) or _text_itself(pattern))


def _text_itself(pattern: str) -> str:
    """Say what to do with a text where names of files are expected; empty for what looks like a name."""
    named = len(pattern.split()) < 2 or re.search(r"\.\w{1,8}\Z", pattern)
    return "" if named else "a text itself is given from Python, as memaudit.Texts([...])"


def _ending(path: Path) -> str:
    """Return the ending of a name that says what the file holds."""
    suffixes = [suffix.lower() for suffix in Path(_BACKUP.sub("", path.name)).suffixes] or [""]
    return (["", *suffixes])[-2] if suffixes[-1] in COMPRESSED else suffixes[-1]


def _corpus_file(name: str, asked: Format | None = None) -> CorpusFile:
    kept = None
    if is_stream(name):
        kept = keep_stream(name)
    else:
        _refuse_place(name)
    ending = _ending(Path(name))
    if ending in ARCHIVES:
        raise InputError(f"{name}: {ending} files are not read", "unpack it and name the files in it")
    named = asked or _FORMATS.get(ending)
    file_format = "text" if asked == "text" else sniff(ByteStream(name, path=kept), named)
    usual = {named or "text", "jsonl" if named == "json" else named}
    return CorpusFile(name, file_format, file_format not in usual, kept, as_written=asked == "text")


def _refuse_place(name: str) -> None:
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name}: is a folder", f"name its files, for example '{name.rstrip('/')}/*.txt'")
    if path.is_symlink() and not path.exists():
        raise InputError(f"{name}: is a link to nothing", "fetch the file that it points to, or leave it out")
    if not path.is_file():
        raise InputError(f"{name}: is no regular file", "a corpus is read more than once: save it to a file")


def _hub_dataset(spec: str) -> HubDataset:
    parts = re.split(r":(?![^\[]*\])", spec.removeprefix("hf:"))  # not at the colon of train[:1%]
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise InputError(f"{spec}: incomplete", "write hf:NAME:CONFIG:SPLIT, where CONFIG may be empty")
    return HubDataset(*parts)
