"""Text that a model is known to recite, as the control of a server that gives text alone.

Such a server can cut prompts or put a template around them, and nothing in its answers says so: then nothing is
reproduced, which looks like a clean model. Whoever knows text that the model recites finds out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.findings import Control
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models.base import LanguageModel
from memaudit.records import Capabilities, Capability, Document, Window
from memaudit.runs.directory import RunDirectory
from memaudit.runs.measured_lines import RecitalLine
from memaudit.runs.parts import RecitalDescription
from memaudit.runs.plans import ExtractionPlan
from memaudit.text.corpus.read import read_corpus
from memaudit.text.windows.windows import cut_document

RECITES = "recites known text"
WINDOWS = 20
"""Windows of the recital that are asked for, evenly from all over it."""
SHARE = 0.5
"""Share of them that must come back verbatim."""
NOT_NAMED = (
    "no recital was named: a server that gives text alone may cut or wrap prompts unseen; name text that the model is"
    " known to recite with --recital"
)


class Recital:
    """Windows of text that the model is known to recite: one line each, which is no finding.

    Args:
        file: That holds the text.
        model: Its tokenizer cuts the windows.
        options: Lengths of prefix and suffix.

    Raises:
        InputError: It cannot be read, or has no window.
    """

    name = "recital"
    needs: Capabilities = frozenset((Capability.CONTINUATIONS,))
    block = 64

    def __init__(self, file: str, model: LanguageModel, options: AuditOptions) -> None:
        corpus = read_corpus([file], text_field=options.text_field, split="file")
        documents = list(corpus)
        summary = corpus.summary()
        self.files, self.specs = summary["files"], summary["specs"]
        found = [window for each in documents for window in _windows(each, model, options)]
        if not found:
            raise InputError(
                f"--recital {file}: no text of {options.prefix + options.suffix:,} tokens, which are one window",
                "give a longer text, or use a shorter --prefix, --suffix",
            )
        count = min(WINDOWS, len(found))
        self.windows = [found[i * len(found) // count] for i in range(count)]

    def describe(self) -> RecitalDescription:
        """Return what a plan says of it."""
        digest = hashlib.sha256()
        for window in self.windows:
            digest.update(window.prefix.tobytes() + b"\0" + window.suffix.tobytes() + b"\0")
        return {
            "specs": self.specs,
            "files": self.files,
            "windows": len(self.windows),
            "sha256": digest.hexdigest(),
        }

    def items(self, subject: Subject) -> Sequence[Window]:  # noqa: ARG002 (it is of no side)
        """Return the windows."""
        return self.windows

    def measure(self, subject: Subject, items: Sequence[Window]) -> list[RecitalLine]:
        """Let the model continue a block of them."""
        written = subject.model.greedy_continuations(items)
        return [
            {
                "source": window.source,
                "start": window.start,
                "tokens": len(window.suffix),
                "matched": matched_tokens((ids[: len(window.suffix)] != window.suffix).astype("int32")),
            }
            for window, ids in zip(items, written, strict=True)
        ]


def recital_lines(run: RunDirectory, first: int, recital: Recital | None) -> list[RecitalLine]:
    """Return what the log holds of it, from the index of its first line on."""
    count = 0 if recital is None else len(recital.windows)
    return [cast("RecitalLine", run.records[first + i]) for i in range(count)]


def check_recital(plan: ExtractionPlan, lines: Sequence[RecitalLine]) -> list[Control]:
    """Check that a model behind an address recites what it is known to recite.

    Returns:
        The control: not run where it would be needed and no text was named. None where it is not needed: of a model
        that was loaded here, and where log-probabilities show what the model is given.
    """
    model = plan["model"]
    if "endpoint" not in model:
        return []
    if "recital" not in plan:
        return [Control(RECITES, None, NOT_NAMED)] if Capability.LOG_PROBS in model.get("lacks", ()) else []
    hits = sum(line["matched"] == line["tokens"] for line in lines)
    passed = hits >= SHARE * len(lines)
    detail = f"{hits} of {len(lines)} windows of {', '.join(plan['recital']['specs'])} are continued verbatim"
    if not passed:
        detail += ": either the model does not know this text, or its server cuts or wraps prompts"
    return [Control(RECITES, passed, detail)]


def _windows(document: Document, model: LanguageModel, options: AuditOptions) -> list[Window]:
    (encoding,) = model.tokenizer.encode_batch([document.text])
    return cut_document(document, encoding, options, WINDOWS, True, model.tokenizer.unknown_id)
