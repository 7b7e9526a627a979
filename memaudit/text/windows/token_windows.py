"""Windows that are given as token ids: two ``.npy`` arrays, prefixes and suffixes, as the field's benchmark has them.

The training data extraction benchmark (Carlini et al. 2022, Google 2023) publishes its examples so: one row
an example, whose tokens are those of the audited model.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.records import TokenIds, Window
from memaudit.runs.inputs import read_file
from memaudit.runs.parts import FileDigest, Summary
from memaudit.text.tokenize import Tokenizer
from memaudit.text.windows.overlap import OVERLAP_SPAN, Overlap, Spans
from memaudit.text.windows.windows import NOT_DRAWN, OVERLAPPING, SetAside, WindowOptions, WindowSet, overlap_error

COPY = "a copy of another window"


@dataclass(frozen=True, slots=True)
class TokenArrays:
    """One side: files of prefixes and suffixes, row by row."""

    files: tuple[Path, Path]
    digests: tuple[FileDigest, FileDigest]
    prefixes: TokenIds
    """Shape [windows, prefix tokens]."""
    suffixes: TokenIds
    """Shape [windows, suffix tokens]."""

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens of a prefix and of a suffix."""
        return self.prefixes.shape[1], self.suffixes.shape[1]

    def summary(self) -> Summary:
        """Return what a plan says of this side, in the form that describes a corpus."""
        return {
            "specs": [str(path) for path in self.files],
            "files": list(self.digests),
            "documents": len(self.prefixes),
            "empty": 0,
            "units": f"{len(self.prefixes):,} windows of {self.lengths[0]} + {self.lengths[1]} token ids, each its own"
            " document",
            "domains": {},
        }


NO_SIDE: Summary = {
    "specs": [],
    "files": [],
    "documents": 0,
    "empty": 0,
    "units": "no text was given",
    "domains": {},
}
"""The summary of a side that was not given."""


def read_token_arrays(prefixes: Path, suffixes: Path, vocabulary: int) -> TokenArrays:
    """Read the two arrays of a side.

    Args:
        prefixes: ``.npy`` of whole numbers, shape [windows, tokens].
        suffixes: The continuations of the same rows.
        vocabulary: Number of ids of the model's tokenizer.

    Raises:
        InputError: A file is no such array, their rows differ in number, or an id is outside the vocabulary.
    """
    (before, one), (after, other) = (_read_ids(path, vocabulary) for path in (prefixes, suffixes))
    arrays = before, after
    if len(arrays[0]) != len(arrays[1]):
        raise InputError(
            f"{prefixes} has {len(arrays[0]):,} rows, {suffixes} {len(arrays[1]):,}",
            "row i of the one continues row i of the other",
        )
    if not arrays[1].size:
        raise InputError(f"{suffixes}: no suffix tokens")
    return TokenArrays((prefixes, suffixes), (one, other), *arrays)


def token_windows(
    train: TokenArrays, heldout: TokenArrays | None, tokenizer: Tokenizer, options: WindowOptions
) -> WindowSet:
    """Return the windows of both sides: all rows, or ``options.limit`` of them drawn by the seed.

    Raises:
        InputError: The sides have windows of different lengths, or held-out windows overlap with training windows
            (unless ``options.allow_overlap``: then those are set aside and listed).
    """
    if heldout is not None and heldout.lengths != train.lengths:
        raise InputError(
            f"{heldout.files[0]}: windows of {heldout.lengths[0]} + {heldout.lengths[1]} tokens beside training windows"
            f" of {train.lengths[0]} + {train.lengths[1]}",
            "cut both alike",
        )
    overlaps = {} if heldout is None else _overlaps(train, heldout, tokenizer)
    if heldout is not None and overlaps and not (options.allow_overlap and len(overlaps) < len(heldout.prefixes)):
        asked = f"{len(heldout.prefixes):,} held-out windows"
        raise overlap_error(list(overlaps.values()), asked, sum(heldout.lengths))
    windows: list[Window] = []
    set_aside: list[SetAside] = []
    for name, side in (("train", train), ("heldout", heldout)):
        if side is not None:
            rows, skipped = _drawn(side, options, overlaps if side is heldout else ())
            windows += [_window(side, int(row), tokenizer, name == "train") for row in rows]
            set_aside += [SetAside(name, reason, count) for reason, count in skipped.items() if count]
    if heldout is None:
        matching = "not matched: there are no held-out windows"
    else:
        matching = "given as token ids of the same lengths; that both sides are of one kind is assumed"
    return WindowSet(windows, set_aside, list(overlaps.values()), heldout is not None, matching)


def _overlaps(train: TokenArrays, heldout: TokenArrays, tokenizer: Tokenizer) -> dict[int, Overlap]:
    """Return the held-out rows that share a span with a row of training text, drawn or not, in their order."""
    rows, others = (np.concatenate([side.prefixes, side.suffixes], axis=1) for side in (heldout, train))
    spans = Spans(list(rows), min(OVERLAP_SPAN, rows.shape[1]), tokenizer.unknown_id)
    found: dict[int, Overlap] = {}
    for place, row in enumerate(others):
        for position in spans.found_in(row):
            names = f"{heldout.files[0]}:{position + 1}", f"{train.files[0]}:{place + 1}"
            found.setdefault(position, Overlap(*names, "exact"))
    return dict(sorted(found.items()))


def _read_ids(path: Path, vocabulary: int) -> tuple[TokenIds, FileDigest]:
    try:
        content, digest = read_file(path)
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a .npy array of numbers: {str(error).splitlines()[0]}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "iu":
        kind = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise InputError(f"{path}: {kind}", "whole numbers of shape [windows, tokens] are needed")
    wrong = np.argwhere((array < 0) | (array >= vocabulary))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"{path}: row {row + 1} holds the id {array[row, column]}, the model's tokenizer has {vocabulary:,}",
            "are these the tokens of this model?",
        )
    return array.astype(np.int32), FileDigest(path=str(path), sha256=digest, bytes=len(content))


def _drawn(
    side: TokenArrays, options: WindowOptions, overlapping: Collection[int]
) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Return the rows that are asked, in the order of the file, and how many are not, by reason."""
    left = np.array([row for row in range(len(side.prefixes)) if row not in overlapping])
    texts = np.concatenate([side.prefixes, side.suffixes], axis=1)[left]
    rows = left[np.unique(texts, axis=0, return_index=True)[1]]
    drawn = np.random.default_rng(options.seed).permutation(np.sort(rows))[: options.limit]
    skipped = {OVERLAPPING: len(overlapping), COPY: len(left) - len(rows), NOT_DRAWN: len(rows) - len(drawn)}
    return np.sort(drawn), skipped


def _window(side: TokenArrays, row: int, tokenizer: Tokenizer, member: bool) -> Window:
    prefix, suffix = side.prefixes[row], side.suffixes[row]
    before, after = _texts(tokenizer, prefix, suffix)
    place = f"{side.files[0]}:{row + 1}"
    return Window(prefix, suffix, document=place, source=place, member=member, prefix_text=before, suffix_text=after)


def _texts(tokenizer: Tokenizer, prefix: TokenIds, suffix: Sequence[int] | TokenIds) -> tuple[str, str]:
    """Return the texts of prefix and suffix; a character that the seam cuts goes to the suffix."""
    whole = tokenizer.decode(np.concatenate([prefix, np.asarray(suffix, np.int32)]))
    before = tokenizer.decode(prefix).rstrip("\ufffd")
    return (before, whole[len(before) :]) if whole.startswith(before) else (before, tokenizer.decode(suffix))
