"""Which prompts are asked about, how alike the sides are, and which held-out prompts are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memaudit.audits.answers.table import Attempts
from memaudit.errors import InputError
from memaudit.text.windows.overlap import OVERLAP_SPAN, Overlap, Spans
from memaudit.text.windows.windows import NOT_DRAWN, OVERLAPPING, SetAside, WindowSet

UNLIKE = 1.5
"""Times by which the sides may differ in the median length of what is asked for: a short text is guessed sooner."""


def chosen_windows(
    train: Sequence[Attempts], heldout: Sequence[Attempts], *, limit: int, seed: int, allow_overlap: bool
) -> tuple[list[Attempts], WindowSet]:
    """Return the prompts that are compared, training text first, and the account of those that are not.

    Args:
        train: Answers to prompts of training text.
        heldout: Answers to prompts of text that the model never saw; may be empty.
        limit: Most prompts a side, drawn by the seed.
        seed: Fixes the draw.
        allow_overlap: Set held-out prompts aside that stand in training text, instead of refusing them.

    Raises:
        InputError: Held-out prompts stand among those of training text.
    """
    overlaps = _overlaps(train, heldout)
    if overlaps and not (allow_overlap and len(overlaps) < len(heldout)):
        first = next(iter(overlaps.values()))
        raise InputError(
            f"{len(overlaps):,} of {len(heldout):,} held-out prompts overlap with training text: {first.heldout} with"
            f" {first.train}",
            "give held-out text that the model never saw; --allow-overlap sets them aside",
        )
    set_aside: list[SetAside] = []
    kept: list[Attempts] = []
    for name, side in (("train", train), ("heldout", heldout)):
        left = [each for i, each in enumerate(side) if name == "train" or i not in overlaps]
        drawn = sorted(np.random.default_rng(seed).permutation(len(left))[:limit].tolist())
        kept += [left[i] for i in drawn]
        for reason, count in ((OVERLAPPING, len(side) - len(left)), (NOT_DRAWN, len(left) - len(drawn))):
            set_aside += [SetAside(name, reason, count)] if count else []
    matched, matching = _matching(train, heldout)
    return kept, WindowSet([each.window for each in kept], set_aside, list(overlaps.values()), matched, matching)


def _overlaps(train: Sequence[Attempts], heldout: Sequence[Attempts]) -> dict[int, Overlap]:
    """Return the held-out prompts whose true text shares `OVERLAP_SPAN` tokens with one of training text, or is it.

    Prompts may share instructions and examples. A short true text may be that of several prompts; it overlaps only
    where the prompt is the same too.
    """
    if not heldout:
        return {}
    spans = Spans([each.window.suffix for each in heldout], OVERLAP_SPAN, None)
    whole = {_whole(each): i for i, each in reversed([*enumerate(heldout)]) if each.window.prefix_text}
    found: dict[int, Overlap] = {}
    for each in train:
        same = whole.get(_whole(each))
        for position in [*spans.found_in(each.window.suffix), *([] if same is None else [same])]:
            found.setdefault(position, Overlap(heldout[position].window.source, each.window.source, "exact"))
    return dict(sorted(found.items()))


def _whole(each: Attempts) -> tuple[str, str]:
    return each.window.prefix_text, each.window.suffix_text


def _matching(train: Sequence[Attempts], heldout: Sequence[Attempts]) -> tuple[bool, str]:
    if not train or not heldout:
        return bool(heldout), "not matched: there are no answers to " + ("held-out" if train else "training") + " text"
    lengths = [float(np.median([len(each.window.suffix) for each in side])) for side in (train, heldout)]
    told = f"true texts have {lengths[0]:g} tokens in training text and {lengths[1]:g} in held-out text (medians)"
    if max(lengths) > UNLIKE * min(lengths):
        return False, f"not matched: {told}, and a shorter text is guessed sooner"
    return True, f"{told}; that both sides are of one kind is assumed"
