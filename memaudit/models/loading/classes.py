"""Which class of transformers a configuration asks for, and with what objective it was trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.records import Objective


def module_class_of(folder: Path, config: Any, raw: dict[str, Any]) -> tuple[Objective, Any]:
    """Decide the objective by the architecture's name, else by what the family can be."""
    from transformers.models.auto import modeling_auto

    causal, masked = (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
    )
    listed = raw.get("architectures") or []
    names = " ".join(str(name) for name in listed) if isinstance(listed, list) else ""
    says_causal = re.search(r"ForCausalLM|LMHeadModel", names) is not None
    if type(config) in masked and not says_causal:
        return "masked", masked[type(config)]
    if type(config) in causal:
        return "next-token", causal[type(config)]
    raise ModelError(
        f"{folder / 'config.json'}: {one_line(names or config.model_type, 60)} is no language model for text",
        "causal and masked language models can be audited",
    )
