"""Questions that are asked of many small models: each is trained, asked and logged before the next one is begun."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from memaudit.audits.lifecycle import Question, Report
from memaudit.audits.result import RunResult
from memaudit.audits.small_models import MODELS, train_small
from memaudit.models.base import LanguageModel
from memaudit.runs.directory import RunDirectory
from memaudit.stats.rounding import seconds
from memaudit.text.corpus.objects import Listed
from memaudit.training.train import SmallTraining

Log = Callable[[str], None]


class SuiteOptions(Protocol):
    """What the options of a suite have in common."""

    @property
    def family(self) -> str:
        """Of all models."""

    @property
    def epochs(self) -> float:
        """Passes over the documents of a model."""


@dataclass(frozen=True, slots=True)
class Training:
    """One model of a suite."""

    name: str
    """For people and for times.json."""
    folder: str
    """Below the models of the run, where an interrupted training is continued."""
    small: SmallTraining


class Suite(Question[RunResult[Report], Report]):
    """A suite of trainings; a subclass says which they are and what each model is asked."""

    def __init__(self, corpus: Listed, options: SuiteOptions, threads: int | None, log: Log) -> None:
        self.corpus, self.threads, self.log = corpus, threads, log
        self.family, self.epochs = options.family, options.epochs

    @property
    @abstractmethod
    def trainings(self) -> int:
        """How many there are."""

    @abstractmethod
    def training(self, index: int) -> Training:
        """Return one of them."""

    @abstractmethod
    def asked(self, model: LanguageModel, index: int) -> Mapping[str, Any]:
        """Return what its model answers, as the log holds it beside parameters and training loss."""

    def measure(self, run: RunDirectory) -> None:
        """Train and ask the models that the log lacks."""
        for (index,) in run.pending([(i,) for i in range(self.trainings)]):
            started, training = perf_counter(), self.training(index)
            model, loss = train_small(self.family, training.small, run.folder / MODELS / training.folder)
            trained = perf_counter()
            line = {"index": index, "parameters": model.parameters, "loss": loss, **self.asked(model, index)}
            run.append([line])
            run.times[f"train {training.name}"] = trained - started
            run.times[f"query {training.name}"] = perf_counter() - trained
            told = f"{training.name}: {model.parameters:,} parameters, {seconds(perf_counter() - started)}"
            self.log(f"{told} [{index + 1} of {self.trainings}]")

    def result(self, outcome: RunResult[Report]) -> RunResult[Report]:
        """Return the outcome; a suite comes to no verdict."""
        return outcome
