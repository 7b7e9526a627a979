"""Whether a model is given the token that its tokenizer puts before a text, or the ids of a text alone.

A text begins with a start token in training, and a window from the middle of one does not. Both ways of asking are in
use: what an audit measures is what it was asked (up to 3 nats a window apart, measured on a small GPT).
"""

from __future__ import annotations

from memaudit.errors import InputError, ModelError
from memaudit.models.base import LanguageModel
from memaudit.models.external import ExternalModel
from memaudit.records import START_TOKENS, StartToken

CHOICES = f"one of {', '.join(START_TOKENS)}"


def with_start_token(model: LanguageModel, choice: StartToken) -> LanguageModel:
    """Return the model as it is to be asked, and its base model, where it has one, in the same way.

    Args:
        model: Of any family.
        choice: ``as-trained``: it is given what its tokenizer puts before a text (of a masked model: around it) before
            every window, wherever in a text that begins. ``none``: ids alone; of a model that has no start token
            that is the same. ``both``: the verdict rests on as-trained, so this is that.

    Returns:
        The model itself where nothing changes, else another over the same weights, whose `LanguageModel.as_trained`
        is the model. Of what comes first in a text it then knows nothing: it continues no empty prompt.

    Raises:
        InputError: There is no such choice.
        ModelError: The model puts a start token before a text in any case.
    """
    if choice not in START_TOKENS:
        raise InputError(f"start_token is {choice!r}", CHOICES)
    stranger = isinstance(model, ExternalModel) and not isinstance(model.model, LanguageModel)
    own = any(model.frame) or (stranger and model.tokenizer.bos_id is not None)
    if choice != "none" or not own:
        return model
    bare = model.without_frame()
    if any(bare.frame):
        raise ModelError(
            f"the {model.family} model begins every text with a token that cannot be left out", "leave it as it is"
        )
    bare.as_trained = model
    if model.base is not None:
        bare.base = with_start_token(model.base, choice)
    return bare


def asked_alike(other: LanguageModel, model: LanguageModel) -> LanguageModel:
    """Return another model, to be asked with a start token or without as ``model`` is.

    Raises:
        ModelError: See `with_start_token`.
    """
    return with_start_token(other, "as-trained" if model.as_trained is None else "none")
