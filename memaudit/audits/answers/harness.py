"""Sample logs of lm-evaluation-harness (``samples_TASK_DATE.jsonl``, written with ``--log_samples``).

A line is one item and one filter: ``doc_id``, ``arguments`` (what was asked: ``gen_args_0.arg_0`` is the prompt),
``target``, ``resps`` (what the model wrote, one list a request, one text a repeat) and ``filtered_resps`` (what a
filter cut out of that). Logs of multiple choice and of perplexity hold log-likelihoods in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

_COLUMNS = frozenset(("doc_id", "arguments", "resps"))


def is_harness_log(columns: Mapping[str, Any]) -> bool:
    """Whether a record is a line of such a log."""
    return columns.keys() >= _COLUMNS


def as_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line as a record with the fields id, prompt, target and output, the attempts in a list.

    Raises:
        RecordError: It holds no text that a model wrote, or is not as the harness writes it.
    """
    asked, given = row["arguments"], row["resps"]
    asked = list(asked.values()) if isinstance(asked, Mapping) else asked
    if not (isinstance(asked, list) and asked and isinstance(given, list) and given):
        raise RecordError("no arguments or no resps, as lm-evaluation-harness writes them")
    if len(given) > 1 or not all(isinstance(each, str) for each in _repeats(given[0])):
        raise RecordError(
            "a log of log-likelihoods (multiple choice or perplexity): it holds no text that the model wrote",
            "give the log of a task that generates (output_type generate_until)",
        )
    first = asked[0]
    prompt = next(iter(first.values()), None) if isinstance(first, Mapping) else _repeats(first)[:1]
    prompt = prompt[0] if isinstance(prompt, list) and prompt else prompt
    if not isinstance(prompt, str):
        raise RecordError(f"the prompt is {json_type(prompt)}, expected a string")
    return {"id": row["doc_id"], "prompt": prompt, "target": row.get("target"), "output": _repeats(given[0])}


def _repeats(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
