"""Which class of transformers a configuration asks for, and with what objective it was trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.reasons import why_no_text
from memaudit.records import Objective


def module_class_of(folder: Path, config: Any, raw: dict[str, Any]) -> tuple[Objective, Any]:
    """Decide the objective by the architecture's name, else by what the family can be.

    A family that reads images or sound beside text is known by the class that holds all of it: see
    `memaudit.models.loading.wrappers`.

    Raises:
        ModelError: It is no causal or masked language model for text; one line says what it is instead.
    """
    from transformers.models.auto import modeling_auto

    file = folder / "config.json"
    listed = raw.get("architectures") or []
    names = " ".join(str(name) for name in listed) if isinstance(listed, list) else ""
    if config.is_encoder_decoder or config.get_text_config().is_encoder_decoder:
        raise ModelError(f"{file}: {_called(names, config)} has an encoder and a decoder", KNOWN)
    masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING
    says_causal = re.search(r"ForCausalLM|LMHeadModel", names) is not None
    if type(config) in masked and not says_causal:
        return "masked", masked[type(config)]
    for mapping in (*wrappers(), modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING):
        if type(config) in mapping:
            return "next-token", mapping[type(config)]
    raise ModelError(f"{file}: {_called(names, config)} {why_no_text(config)}", KNOWN)


def wrappers() -> list[Any]:
    """Return the mappings of `transformers` from configurations to models that write text after more than text."""
    from transformers.models.auto import modeling_auto

    names = (
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
        "MODEL_FOR_MULTIMODAL_LM_MAPPING",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    )
    return [getattr(modeling_auto, name) for name in names if hasattr(modeling_auto, name)]


KNOWN = "causal and masked language models can be audited"


def _called(names: str, config: Any) -> str:
    return one_line(names or str(config.model_type), 60)
