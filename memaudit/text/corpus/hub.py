"""Data sets of the Hugging Face hub, from the local cache where they are there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from typing import Any

from memaudit.errors import InputError
from memaudit.text.corpus.conversations import FIELDS
from memaudit.text.corpus.fields import USUAL
from memaudit.text.corpus.rows import Row


class HubStream:
    """The rows of a data set of the Hugging Face hub, from the local cache where it is there.

    ``sha256`` and ``bytes`` are of the fields that were read, as JSON, one row after the other.
    """

    def __init__(self, dataset: str, config: str, split: str) -> None:
        self.name = f"hf:{dataset}:{config}:{split}"
        self.bytes = 0
        self._arguments = (dataset, config or None, split)
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the rows read so far."""
        return self._hash.hexdigest()

    def rows(self, columns: Collection[str]) -> Iterator[Row]:
        """Yield the rows, wanted columns only; InputError if the data set is not to be had."""
        table = self._load()
        present = [column for column in table.column_names if column in columns]
        if USUAL in present:  # a text: what a conversation would have is not read
            present = [column for column in present if column not in FIELDS]
        for row, fields in enumerate(self._fields(table.select_columns(present or table.column_names)), start=1):
            data = json.dumps(fields, default=str, sort_keys=True).encode()
            self._hash.update(data)
            self.bytes += len(data)
            yield str(row), fields

    def _fields(self, table: Any) -> Iterator[dict[str, Any]]:
        try:
            yield from table
        except (ArithmeticError, ValueError) as error:  # a date that Python does not have
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(
                f"{self.name}: a row cannot be read: {reason}", "save it as Parquet and name that"
            ) from error

    def _load(self) -> Any:
        os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
        import datasets

        dataset, config, split = self._arguments
        try:
            return datasets.load_dataset(dataset, config, split=split)
        except Exception as error:  # whatever its many storage back ends raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            hint = "fetch it on a machine with network, or name a local .jsonl or .parquet file instead"
            problem = f"{self.name}: not in the local cache and not to be had: {reason}"
            raise InputError(problem, hint) from error
