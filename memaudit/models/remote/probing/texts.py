"""Short passages that no corpus holds, in several scripts, and the prompts that are made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memaudit.records import TokenIds
from memaudit.text.tokenize import Tokenizer

PLAIN = (
    "The harbour office opens at seven on weekdays. A clerk unlocks the side door, turns on the lamps above the "
    "long counter and reads the tide table aloud, although nobody else is there yet. Two boats are expected "
    "before noon, one with timber and one with empty crates, and both will lie at the eastern quay until the "
    "crane has been repaired. The mechanic promised to come on Tuesday, then on Thursday, and now on some day "
    "after the holidays.",
    "Our neighbour keeps bees behind the orchard wall. In spring the hives stand open to the south, and in a warm "
    "week the children count the flights between breakfast and school. She sells the honey in square jars, each "
    "with a paper label that says which meadow was in flower. Last year the lime trees gave almost nothing, so "
    "the darkest jars were those of the heather, and they were gone before the first frost.",
    "To fold the map again, lay it flat on a table with the legend facing down. Begin at the left edge and bring "
    "every second crease towards you. When six panels lie on each other, turn the stack by a quarter, press it "
    "with the flat hand and fold it once in the middle. It should now fit into the pocket of the door, next to "
    "the torch and the spare fuse that we never needed.",
    "The committee met in the small hall because the large one was being painted. It heard a report on the "
    "lending of tools, thanked the volunteers who had oiled the shears, and agreed to buy a second ladder. A "
    "member asked whether the drill could be lent for a whole month. After some talk the answer was that two "
    "weeks are enough for a shelf.",
)
"""Long enough to be cut at any of the lengths below."""
SCRIPTS = (
    "El tranvía número 9 pasó vacío; ¿quién viaja al muelle un lunes a las 6:45?",
    "Лодочник перевязал канат и долго смотрел, как туман уходит за мельницу.",
    "雨停以后，孩子们把纸船放进院子里的水沟。",
    "الحارس يفتح البوابة الصغيرة قبل وصول العمال إلى الحديقة.",
    "पुस्तकालय के पीछे नीम का एक पुराना पेड़ खड़ा है।",
    "def area(w, h):\n    return w * h  # 3.5 x 12 = 42.0\n",
)
LEAST = 2
"""Tokens that a prompt has at least."""


def prompt_of(tokenizer: Tokenizer, text: str, length: int, first: int = 0) -> TokenIds | None:
    """Return about ``length`` tokens of a text that are what their text is encoded as, or None.

    A cut inside a character or a word gives ids that nobody's text is encoded as: up to eight tokens are left out.

    Args:
        tokenizer: Of the model.
        text: A passage.
        length: Most tokens.
        first: Token at which the prompt begins.
    """
    ids = tokenizer.encode_batch([text])[0].ids[first:]
    for count in range(min(length, len(ids)), max(LEAST, min(length, len(ids)) - 8) - 1, -1):
        cut = ids[:count]
        if tokenizer.unknown_id is not None and tokenizer.unknown_id in cut:
            continue
        if np.array_equal(tokenizer.encode_batch([tokenizer.decode(cut)])[0].ids, cut):
            return cut
    return None


def prompts_of(tokenizer: Tokenizer, texts: Sequence[str], lengths: Sequence[int]) -> list[TokenIds]:
    """Return a prompt of each text whose tokenizer can read it, of the lengths in turn."""
    made = [prompt_of(tokenizer, text, lengths[i % len(lengths)]) for i, text in enumerate(texts)]
    return [prompt for prompt in made if prompt is not None]


def long_ids(tokenizer: Tokenizer, length: int) -> TokenIds:
    """Return exactly ``length`` tokens, however many: the passages one after another, again and again."""
    ids = tokenizer.encode_batch([" ".join(PLAIN)])[0].ids
    return np.resize(ids, length).astype(np.int32)
