"""Options of the detectors that test whether a model has seen a text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from memaudit.errors import InputError
from memaudit.records import START_TOKENS, StartToken
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.objects import HeldRows, listed, specs_of
from memaudit.text.corpus.read import Split

MIN_MASKS = 10
"""Random maskings a document that an approximate pseudo-log-likelihood is a mean of, at least."""
TRAIN = "train"
"""Stands for a reference that is trained here."""


@dataclass(frozen=True, slots=True)
class MembershipOptions:
    """Everything that decides what the detectors measure and conclude.

    Raises:
        InputError: A value lies outside its range.
    """

    alpha: float = 0.05
    """Family-wise level of the declared detectors."""
    detectable: float = 0.6
    """*No evidence* is said only where an AUC of this size would have been found with a power of 80%."""
    tokens: int = 512
    """Tokens of a document that are scored, from its beginning."""
    masks: int | None = None
    """Masked models: mean over so many random maskings of 15% instead of one mask a row; an approximation."""
    randomised: bool = False
    """Whether a coin decided which documents are members: then the rank tests are exact."""
    paired: bool = False
    """Whether a benchmark item and the held-out one of the same id are a pair, as a text and its twin."""
    references: tuple[str, ...] = ()
    """Models that never saw the suspects: specs, or `TRAIN` (once for each that is to be trained)."""
    reference_corpus: tuple[str | HeldRows, ...] = ()
    """Specs of text, or objects that hold it, that references are trained on; empty: half of the held-out documents."""
    order_permutations: int = 999
    """Random orders of the whole benchmark, where the model has a closed form for them."""
    order_tokens: int = 64
    """Tokens of a document that the order test reads, where it has none."""
    overlap_prefix: float = 0.5
    """Share of a document that the model is given before it must continue it."""
    guided: str = ""
    """Name of the data set in the guided instruction; empty: not asked (only instruction-tuned models follow it)."""
    guided_split: str = "test"
    fields: tuple[str, ...] = ()
    """Fields of an item that make its text; empty: those of its layout, where that is well known."""
    id_field: str | None = None
    """Field that names the items; None: the first well-known one that tells them apart."""
    skip_bad: bool = False
    max_expand: int | None = None
    text_field: TextField = "text"
    split: Split = "auto"
    """With ``text_field``: how text of ``reference_corpus`` becomes documents."""
    start_token: StartToken = "as-trained"
    """Whether texts are given with the model's start token before them: see `memaudit.models.start`."""
    detectors: tuple[str, ...] = ()
    """By name (see `memaudit.audits.membership.run`); empty: all that this model and these sides allow."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_corpus", tuple(listed(self.reference_corpus, "reference_corpus")))
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha must lie in (0, 1), not {self.alpha}")
        if not 0.5 < self.detectable < 1:
            raise InputError(f"the AUC to be detectable must lie in (0.5, 1), not {self.detectable}")
        for name, least in (("tokens", 2), ("order_permutations", 1), ("order_tokens", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.start_token not in START_TOKENS:
            raise InputError(f"start_token is {self.start_token!r}", f"one of {', '.join(START_TOKENS)}")
        if not 0 < self.overlap_prefix < 1:
            raise InputError(f"overlap_prefix must lie in (0, 1), not {self.overlap_prefix}")
        if self.masks is not None and self.masks < MIN_MASKS:
            single = (
                "a single random mask is uninformative (AUC .50)" if self.masks == 1 else "too few to be informative"
            )
            raise InputError(f"masks {self.masks}: {single}", f"give at least {MIN_MASKS}, or leave it out: exact")

    def told(self) -> MembershipOptions:
        """Return the same options as a plan holds them: by the names of the text that was given."""
        return replace(self, reference_corpus=tuple(specs_of(self.reference_corpus)))
