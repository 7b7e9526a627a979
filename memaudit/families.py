"""Every family of models as data: the one place that knows their names, how they are loaded, made and trained.

Another package declares a family of its own as an entry point of the group ``memaudit.family`` whose object is a
`Family`. Its folders then load, `memaudit train` has a command for it where it says how it is trained, and suites of
small models and references know it. Parts are named as ``package.module:attribute`` and imported when they are needed,
so that whoever only wants a label (a report) reads no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memaudit.errors import InputError
from memaudit.plugins import Registry, import_object

if TYPE_CHECKING:  # records hold arrays, and a label or a help page needs none
    from memaudit.records import Objective


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model of a family is made where nobody chooses its shape: one of a suite, or a reference."""

    size: int | None = None
    """None where the caller says it."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """What its maker takes beside tokenizer, size and seed."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `memaudit.training.options.TrainingOptions` that differ from the family's own."""


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of one family of models."""

    name: str
    """As it stands in ``memaudit.json``, in plans and in reports."""
    label: str
    """By which people know it."""
    objective: Objective
    load: str
    """``(folder, about, device, dtype) -> LanguageModel``; ``about`` is what ``memaudit.json`` says."""
    new: str = ""
    """``(tokenizer, *, seed, **architecture) -> TrainableModel``: an untrained network."""
    train: str = ""
    """``(documents, tokenizer, **options) -> LanguageModel``: of families that count instead of descending."""
    size: str = "width"
    """The option of ``new`` or ``train`` that is called the size of a model."""
    takes_context: bool = False
    """Whether ``new`` takes a ``context_length``: the longest sequence, which is that of the training."""
    on_cpu: bool = False
    """Whether it computes on the CPU in float32 alone."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TrainingOptions` that were measured best (``benchmarks/optimizer.py``)."""
    small: Recipe | None = None
    """One of the many models of a suite; None where suites cannot use it."""
    suites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of a suite, by its name, that suit the family."""
    reference: Recipe | None = None
    """A reference trained for a run; None where it cannot be one. Of the size of the model that is audited where
    ``reference_keeps_size`` says so and the model has one."""
    reference_keeps_size: bool = False
    reference_of_others: bool = False
    """Whether it is the reference of models of its objective whose own family cannot be one."""

    @property
    def counted(self) -> bool:
        """Whether its probabilities are counts: it knows a document that it has read as a whole."""
        return bool(self.train)

    @property
    def trainable(self) -> bool:
        """Whether `memaudit train` can make one."""
        return bool(self.train or self.new)

    def part(self, name: str) -> Any:
        """Import and return ``load``, ``new`` or ``train``.

        Raises:
            InputError: The family has no such part, or its package cannot be imported.
        """
        target = getattr(self, name)
        if not target:
            raise InputError(f"the family {self.name} does not say how to {name}", "choose another family")
        return import_object(target)


_MUON = {"optimizer": "muon", "learning_rate": 1e-2}
# In recipes: small steps, where little text must give many of them; rotary positions, so that what follows a token
# does not depend on its place in a row.
NGRAM = Family(
    "ngram",
    "n-gram",
    "next-token",
    load="memaudit.models.infinity:load_counts",
    train="memaudit.models.infinity:train_counts",
    size="order",
    on_cpu=True,
    small=Recipe(),
    suites={
        "laws": {"sizes": (3, 4, 5, 6, 8, 12), "epochs": 1.0},
        "counterfactual": {"size": 5, "epochs": 1.0},
    },
    reference=Recipe(5),
    reference_keeps_size=True,
)
RNN = Family(
    "rnn",
    "RNN",
    "next-token",
    load="memaudit.models.rnn:load_rnn",
    new="memaudit.models.rnn:new_rnn",
    on_cpu=True,
    training={**_MUON, "context_length": 64},
    small=Recipe(),
    suites={
        "laws": {"sizes": (32, 64, 128, 256), "epochs": 2.0},
        "counterfactual": {"size": 128, "epochs": 4.0},
    },
    reference=Recipe(128),
)
GPT = Family(
    "gpt",
    "GPT",
    "next-token",
    load="memaudit.models.loading.folder:load_trained",
    new="memaudit.models.transformer:new_gpt",
    takes_context=True,
    training=dict(_MUON),
    small=Recipe(None, {"style": "llama", "heads": 4}, {"batch_size": 4, "context_length": 256}),
    suites={
        "laws": {"sizes": (32, 64, 128, 256), "epochs": 6.0},
        "counterfactual": {"size": 128, "epochs": 6.0},
    },
    reference=Recipe(128, {"style": "llama"}, {"batch_size": 8, "context_length": 128}),
    reference_of_others=True,
)
BERT = Family(
    "bert",
    "BERT",
    "masked",
    load="memaudit.models.loading.folder:load_trained",
    new="memaudit.models.masked:new_bert",
    takes_context=True,
    training={**_MUON, "batch_size": 8},
    reference=Recipe(128, {}, {"batch_size": 8, "context_length": 128}),
    reference_of_others=True,
)
BUILTIN: Mapping[str, Family] = {family.name: family for family in (NGRAM, RNN, GPT, BERT)}
FAMILIES = Registry("memaudit.family", {name: f"{__name__}:{name.upper()}" for name in BUILTIN})
"""Every family by its name; other packages declare theirs as entry points."""


def family_named(name: str) -> Family:
    """Return a family, one of ours or a declared one.

    Raises:
        InputError: There is none of this name, or what is declared under it is another thing.
    """
    found = BUILTIN[name] if name in BUILTIN else FAMILIES.resolve(name)
    if not isinstance(found, Family) or found.name != name:
        raise InputError(f"the entry point '{name}' of {FAMILIES.group} is no Family of that name")
    return found


def find_family(name: object) -> Family | None:
    """Return the family of a name, or None where there is none: a model may call itself anything."""
    if not isinstance(name, str):
        return None
    return family_named(name) if name in BUILTIN or name in FAMILIES.targets() else None


def declared_families() -> list[Family]:
    """Return the families that other packages declare, by name; those that do not import are left out."""
    found = (_known(name) for name in FAMILIES.targets() if name not in BUILTIN)
    return [family for family in found if family is not None]


def suite_families() -> list[str]:
    """Return the names of our families that a suite of small models can be made of."""
    return [name for name, family in BUILTIN.items() if family.small is not None]


def label_of(name: str) -> str:
    """Return the name by which people know a family; a name that nobody declared, or in vain, stands for itself."""
    family = _known(name)
    return name if family is None else family.label


def counts(name: str) -> bool:
    """Return whether models of a family count instead of descending; False for a name that nobody declared."""
    family = _known(name)
    return family is not None and family.counted


def _known(name: str) -> Family | None:
    try:
        return find_family(name)
    except InputError:  # a run is read where the package of its family does not import
        return None


def reference_family(name: str, objective: Objective) -> Family:
    """Return the family of a reference for a model: its own where that can be one, else the one for its objective."""
    own = find_family(name)
    if own is not None and own.objective == objective and own.reference is not None:
        return own
    return next(f for f in BUILTIN.values() if f.reference_of_others and f.objective == objective)
