"""What is to be taken of a model, against what the model gives: refused in one line before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.records import Capabilities, Capability, not_given

NOTHING: Capabilities = frozenset()


def needs_of(measure: Any) -> Capabilities:
    """Return what a measure or detector needs of a model; one that says nothing needs nothing."""
    needs: Capabilities = getattr(measure, "needs", NOTHING)
    return needs


def check_needs(what: str, needs: Capabilities, model: LanguageModel) -> None:
    """Refuse what a model cannot give.

    Args:
        what: That is to be taken, as the user calls it.
        needs: Its needs.
        model: That is audited.

    Raises:
        InputError: The model lacks one of them; the message names all that it lacks.
    """
    if lacking := not_given(needs, model.capabilities):
        who = f"{model.family}, {model.objective}"
        if model.endpoint is not None:
            who = f"{model.endpoint['url']}: {model.endpoint['dialect']}"
        raise InputError(f"{what} cannot be measured: {lacking} ({who})", "leave it out for this model")


def notice_of(lacks: Iterable[str], *, recites: bool = False) -> str:
    """Say what is not measured for want of what a model gives; empty where it gives all that its objective allows.

    Args:
        lacks: What it lacks, as a model and a plan name it.
        recites: Whether text that it is known to recite shows that its server gives it whole prompts.
    """
    lacking = frozenset(map(Capability, lacks))
    unclean = ", and the verdict cannot be clean" if Capability.LOG_PROBS in lacking and not recites else ""
    return f"{not_given(lacking, NOTHING)}: what needs that is not measured{unclean}" if lacking else ""
