"""What a reader of a report should know of where a model's files come from, beside their digests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from memaudit.models.loading.checkpoints import borrowed_files, logged_step
from memaudit.models.loading.hub import hub_commit
from memaudit.models.loading.pickled import INDEX, SINGLE, read_pickles

Origin = tuple[tuple[tuple[str, str], ...], int | None, tuple[str, ...]]


def origin_of(folder: Path, base: Path | None = None) -> Origin:
    """Return which commits of the hub a folder and that of its base model are, its step of training, and notes.

    Args:
        folder: Just read, of a model or of an adapter.
        base: Of the adapter's base model.
    """
    folders = [folder] if base is None else [folder, base]
    commits = tuple((found.id, found.commit) for each in folders if (found := hub_commit(each)) is not None)
    return commits, logged_step(folder), (*_commit(folder), *(note for each in folders for note in _notes(each)))


def _commit(folder: Path) -> Iterator[str]:
    found = hub_commit(folder)
    if found is not None:
        yield f"read from the Hugging Face cache: {found}"


def _notes(folder: Path) -> Iterator[str]:
    if borrowed_files(folder):
        yield f"the tokenizer of {folder.resolve().name} is that of the folder above it"
    if read_pickles(folder):
        which = SINGLE if (folder / SINGLE).is_file() else f"the files of {INDEX}"
        yield f"weights read from {which}, a pickle that was not run: each tensor from its place in the file"
