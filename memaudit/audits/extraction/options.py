"""Options of an extraction audit."""

from __future__ import annotations

from dataclasses import dataclass

from memaudit.audits.comparison.options import MembershipOptions
from memaudit.errors import InputError
from memaudit.records import START_TOKENS, Decoding, StartToken
from memaudit.text.corpus.fields import USUAL, TextField
from memaudit.text.corpus.read import Split
from memaudit.text.windows.windows import WindowOptions


@dataclass(frozen=True, slots=True)
class AuditOptions(WindowOptions):
    """Everything that decides what an audit measures and concludes."""

    max_rate: float = 0.01
    """The policy: the share of training documents that may be extractable."""
    alpha: float = 0.05
    fuzzy: bool = True
    """Whether continuations are produced for windows that are not verbatim, for the fuzzy metrics."""
    exhaustive: bool = False
    """Whether every window is scored and continued whole, and not a random sample alone."""
    copies: bool = True
    """Whether suffixes and other continuations are counted in the training text."""
    unprompted: bool = True
    """Whether samples of what the model writes by itself are looked up there."""
    measures: tuple[str, ...] = ()
    """What is measured beside the windows, by name: see `memaudit.audits.measures`."""
    membership: MembershipOptions | None = None
    """How the scores of whole documents are compared, as `memaudit contamination --model` does; None: not at all."""
    temperature: float = 1.0
    """With ``top_k`` and ``top_p``: how measures that sample do so. The verdict rests on greedy decoding."""
    top_k: int | None = None
    top_p: float | None = None
    text_field: TextField = "text"
    train_field: TextField | None = None
    """Field of the training text, where it is another than that of the held-out text."""
    heldout_field: TextField | None = None
    start_token: StartToken = "as-trained"
    """Whether windows and prompts are given with the model's start token before them: see `memaudit.models.start`."""
    chat_template: str | None = None
    """File of the chat template that writes conversations; ``none``: prompt and completion follow each other; None: the
    model's own."""
    split: Split = "auto"
    skip_bad: bool = False
    max_expand: int | None = None
    """Bytes that a compressed file may expand to; by default at most 200 times its size."""

    def __post_init__(self) -> None:
        WindowOptions.__post_init__(self)
        for name in ("max_rate", "alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        if self.start_token not in START_TOKENS:
            raise InputError(f"start_token is {self.start_token!r}", f"one of {', '.join(START_TOKENS)}")
        if self.text_field != USUAL and (self.train_field or self.heldout_field):
            raise InputError(
                "the field of the text is named for both sides and for one",
                "give --train-field and --heldout-field alone",
            )
        if self.decoding.greedy:
            raise InputError("a temperature of 0 samples nothing", "the greedy verdict is always given beside")

    def field_of(self, member: bool) -> TextField:
        """Return the field of the text of one side."""
        return (self.train_field if member else self.heldout_field) or self.text_field

    @property
    def decoding(self) -> Decoding:
        """How samples are drawn."""
        return Decoding(self.temperature, self.top_k, self.top_p, self.seed)
