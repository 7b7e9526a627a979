"""Audits while a model is fine-tuned, for `Trainer` of transformers and what derives from it (TRL's `SFTTrainer`)."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from memaudit.audits.during_training.curve import CURVE, Point, point_of, write_curve
from memaudit.audits.during_training.loss_check import check_loss
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import audit
from memaudit.errors import MemauditError, RunError, one_line
from memaudit.records import WindowRecord
from memaudit.runs.invocation import Invocation, python_call
from memaudit.training.watching import Moment, Watcher, rows_of

OPTIONS = AuditOptions(limit=100, fuzzy=False, copies=False)
"""What is audited at every step: whether windows are reproduced verbatim, of a sample."""
ROWS = 5000
"""Rows of training data in which audited text is looked for."""
PLANTED, TWINS = "planted.jsonl", "twins.jsonl"

log = logging.getLogger("memaudit")


class MemorizationCallback(Watcher):
    """Audits a model while it is trained: a fixed sample of windows every so many steps, and at the end.

    The rates go to the trainer's log (``memorization_train``, ``memorization_heldout``, with canaries
    ``memorization_planted`` and ``memorization_twins``: shares of documents, in [0, 1]), so that TensorBoard, Weights &
    Biases and whoever else listens show them. Each audit is a run of its own (the last one with its page; ``memaudit
    report`` writes that of any other); ``curve.json`` and ``report.html`` beside them hold the curve.

    Losses, gradients, random numbers and the mode of the model are as without it, with full fine-tuning and with
    adapters. Before the first step it looks whether the audited text gets loss, and says so in one line to the logger
    ``memaudit``. An audit that fails later on is logged and noted, and training goes on.
    """

    def __init__(
        self,
        train: Any,
        heldout: Any,
        *,
        every: int | Literal["epoch"] = "epoch",
        canaries: str | Path | None = None,
        tokenizer: Any = None,
        out: str | Path | None = None,
        options: AuditOptions | None = None,
        name: str = "",
        formats: Sequence[str] = ("html",),
        **fields: Any,
    ) -> None:
        """Say what is audited.

        Args:
            train: Text that the model is trained on, as `memaudit.audit` takes it.
            heldout: Text of the same kind that it never sees.
            every: Steps of the optimizer between audits, or ``"epoch"``.
            canaries: Folder of ``memaudit plant``, whose ``training.jsonl`` is trained on: what was planted is audited
                too, beside its twins that never were.
            tokenizer: By default that of the trainer.
            out: Folder of the run; by default ``memaudit`` in the trainer's output folder. A folder that holds another
                training's run is left alone, and one with a number behind its name is taken.
            options: What to measure; by default 100 windows a side, verbatim alone.
            name: How reports call the model; by default its family.
            formats: What the last audit writes beside report.json: ``html``, ``junit``, ``md``.
            **fields: Single options by name (``limit=200``, ``fuzzy=True``), over those in ``options``.

        Raises:
            InputError: ``every`` is neither, or an option is out of its range.
        """
        values = locals()
        super().__init__(every)
        self._invocation = python_call("memaudit.MemorizationCallback", MemorizationCallback, values)
        self.train, self.heldout, self.tokenizer, self.name = train, heldout, tokenizer, name
        self.canaries = None if canaries is None else Path(canaries)
        self.formats = tuple(formats)
        self.options = dataclasses.replace(options or OPTIONS, **fields)
        self.out = None if out is None else Path(out)
        self.folder: Path | None = None
        """Of the run, once training has begun."""
        self.points: list[Point] = []
        self.check: dict[str, Any] | None = None
        """Whether audited text gets loss; None where that cannot be seen."""
        self.notes: list[str] = []

    def begin(self, moment: Moment) -> Mapping[str, float]:
        """Audit the model before the first step, and look for the audited text in the training data."""
        self.folder = self._place(self.out or Path(moment.folder) / "memaudit", resumed=moment.step > 0)
        audits = self._audits(moment)
        self.check = self._checked(moment, [record for result in audits.values() for record in result.records])
        return self._noted(moment, audits)

    def _checked(self, moment: Moment, records: Sequence[WindowRecord]) -> dict[str, Any] | None:
        """Return whether audited text gets loss, and say so; None where rows cannot be had one by one."""
        reason = "the training data are a stream"
        try:
            rows = rows_of(moment.data, ROWS)
            if rows is not None:
                found = check_loss(records, rows, len(moment.data.dataset))
                log.log(logging.INFO if found.passed else logging.WARNING, found.sentence())
                return found.described()
        except Exception as error:  # of somebody's data set or collator, which may want whole batches
            reason = f"a row of the training data by itself fails: {one_line(f'{type(error).__name__}: {error}', 150)}"
        log.warning("whether the audited text gets loss cannot be seen: %s", reason)
        return None

    def look(self, moment: Moment) -> Mapping[str, float]:
        """Audit the model; whatever goes wrong does not end the training."""
        try:
            return self._noted(moment, self._audits(moment))
        except Exception as error:  # hours of training must not be lost over an audit
            told = f"step {moment.step}: {one_line(str(error) or type(error).__name__, 200)}"
            log.warning("no audit at %s", told, exc_info=not isinstance(error, MemauditError))
            self.notes.append(f"No audit at {told}.")
            return {}

    def _audits(self, moment: Moment) -> dict[str, Audit]:
        found = {"text": self._audit(moment, "step", self.train, self.heldout)}
        if self.canaries is not None:
            sides = str(self.canaries / PLANTED), str(self.canaries / TWINS)
            found["canaries"] = self._audit(moment, "canaries", *sides)
        return found

    def _audit(self, moment: Moment, kind: str, train: Any, heldout: Any) -> Audit:
        assert self.folder is not None, "training has begun"
        tokenizer = self.tokenizer if self.tokenizer is not None else moment.tokenizer
        out = self.folder / f"{kind}-{moment.step:06}"

        def into(folder: Path) -> Audit:
            return audit(
                moment.model, train, heldout, tokenizer=tokenizer, out=folder, options=self.options,
                name=f"{self.name or moment.model.config.model_type} at step {moment.step}",
                invocation=Invocation(self._invocation.command), base_control=moment.last,
                formats=self.formats if moment.last else (),
            )  # fmt: skip

        try:
            return into(out)
        except RunError:
            if not out.is_dir():
                raise
        return into(_free(out))  # of a training that was resumed from an earlier step, or a best model at the end

    def _noted(self, moment: Moment, audits: Mapping[str, Audit]) -> dict[str, float]:
        """Add the audits of a step to the curve, write it, and return what is to be logged."""
        assert self.folder is not None, "training has begun"
        found = [point_of(one, moment.step, moment.epoch, text, moment.loaded) for text, one in audits.items()]
        kept = moment.step + (moment.loaded is not None)  # the model of the last step is another than what was loaded
        self.points = [point for point in self.points if point["step"] < kept] + found
        train, heldout = audits["text"].report["train"], audits["text"].report["heldout"]
        told = {
            "command": self._invocation.command,
            "specs": [*train["specs"], *heldout["specs"]],
            "units": train["units"],
            "options": {"every": self.every, "limit": self.options.limit, "prefix": self.options.prefix,
                        "suffix": self.options.suffix, "seed": self.options.seed},
        }  # fmt: skip
        write_curve(self.folder, self.points, self.check, told, self.notes)
        names = {"text": ("train", "heldout"), "canaries": ("planted", "twins")}
        return {
            f"memorization_{name}": rate
            for point in found
            for name, side in zip(names[point["text"]], (point["train"], point["heldout"]), strict=True)
            if (rate := side["rate"]) is not None
        }

    def _place(self, folder: Path, *, resumed: bool) -> Path:
        """Return the folder of this training: a new one, or that of the training that is resumed, with its curve."""
        if not resumed:
            self.points, self.notes = [], []
            return _free(folder) if folder.exists() and any(folder.iterdir()) else folder
        try:
            self.points = json.loads((folder / CURVE).read_bytes())["points"]
        except (OSError, ValueError, KeyError, TypeError):
            self.points = []
        return folder


def _free(folder: Path) -> Path:
    """Return the folder with the first number behind its name that nobody has taken."""
    number = 2
    while folder.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return folder.with_name(f"{folder.name}-{number}")
