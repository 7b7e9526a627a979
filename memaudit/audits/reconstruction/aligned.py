"""One work beside what the model wrote of it: passages, how much they are, and what a page shows of both texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.reconstruction.matching import (
    LEASTS,
    Passage,
    Run,
    again,
    matching_runs,
    passages_of,
    symbols_of,
    words_in,
)
from memaudit.audits.reconstruction.procedure import Course, Stretch, alike
from memaudit.runs.reconstruction import TextPlace
from memaudit.runs.reconstruction_report import FoundPassage, Recall, SideBySide
from memaudit.text.words.words import Words, words_of

SHOWN = 60
"""Passages of a work whose texts are shown: the longest."""
HEAD, TAIL = 250, 100
"""Words of a passage that are shown from its beginning and from its end, where it has more than both."""
GAP = 40
"""Words of either text that are shown where they part."""
Text = list[tuple[str, bool]]


@dataclass(frozen=True, eq=False)
class Aligned:
    """The work of a course and all that the model wrote, matched."""

    course: Course

    @cached_property
    def words(self) -> list[Words]:
        """The words of every stretch."""
        return [words_of(stretch.text) for stretch in self.course.stretches]

    @cached_property
    def cuts(self) -> list[int]:
        """Where the words of every stretch begin among those of all, each behind a mark that no text holds."""
        return [1, *(np.cumsum([len(words) + 1 for words in self.words]) + 1).tolist()]

    @cached_property
    def given(self) -> NDArray[np.bool_]:
        """Words of the work that were given, or stand in twenty words that were given elsewhere."""
        work = self.course.work
        symbols, _ = symbols_of(work.words.hashes, work.words.hashes[:0])
        return again(symbols, [work.words_in(stretch.given) for stretch in self.course.stretches])

    @cached_property
    def passages(self) -> list[Passage]:
        """All passages of twenty words or more that were not given, in order."""
        mark = np.zeros(1, np.uint64)
        output = np.concatenate([piece for words in self.words for piece in (mark, words.hashes)])
        pair = symbols_of(self.course.work.words.hashes, output, (self.given, output == 0))
        return passages_of(matching_runs(*pair), self.cuts)

    def stretch_of(self, passage: Passage) -> int:
        """Return the number of the stretch that a passage was written in."""
        return int(np.searchsorted(self.cuts, passage.output.start, side="right")) - 1

    def recall(self, least: int) -> Recall:
        """Return how much of the work stands in passages of at least so many words."""
        work = self.course.work
        marked = np.zeros(len(work.words), bool)
        for run in words_in(self.passages, least):
            marked[run.work : run.work + run.words] = True
        long = [passage.words for passage in self.passages if passage.words >= least]
        words, tokens = int(marked.sum()), work.tokens_of(marked)
        return {
            "least": least,
            "passages": len(long),
            "words": words,
            "share": words / len(work.words) if len(work.words) else None,
            "tokens": tokens,
            "token_share": tokens / work.tokens if work.tokens else None,
            "longest": max(long, default=0),
        }

    @cached_property
    def shown(self) -> list[Passage]:
        """Passages that count by the least number of words that is asked for, in order."""
        return [passage for passage in self.passages if passage.words >= LEASTS[-1]]

    def found(self) -> list[FoundPassage]:
        """Return the passages as a report lists them."""
        return [
            {
                "work": self.course.work.place(passage.work),
                "output": self._output_place(passage),
                "words": passage.words,
                "longest_run": max(run.words for run in passage.runs),
                "stretch": self.stretch_of(passage),
            }
            for passage in self.shown
        ]

    def _output_place(self, passage: Passage) -> TextPlace:
        number = self.stretch_of(passage)
        words, texts = self.words[number], [stretch.text for stretch in self.course.stretches]
        start = int(words.starts[passage.output.start - self.cuts[number]])
        lines = sum(text.count("\n") for text in texts[:number]) + texts[number].count("\n", 0, start)
        # marks between stretches are no words
        return {"word": passage.output.start - number - 1, "words": len(passage.output), "line": lines + 1}

    def alike(self, number: int) -> int:
        """Return how many words of a stretch are the next of the work, before the first that is not."""
        return alike(*self.course.next_words(self.course.stretches[number].given, self.words[number].hashes))

    def diverged(self) -> TextPlace | None:
        """Return the first word behind those given first that the model did not write."""
        word = self.course.work.words_in(self.course.stretches[0].given).stop + self.alike(0)
        return None if word >= len(self.course.work.words) else self.course.work.place(range(word, word + 1))

    def side_by_side(self) -> tuple[list[SideBySide], int]:
        """Return what a page shows of both texts, in order, and how many passages it leaves out."""
        longest = sorted(range(len(self.shown)), key=lambda i: (-self.shown[i].words, i))[:SHOWN]
        items: list[SideBySide] = []
        for number, stretch in enumerate(self.course.stretches):
            items.append(self._given(stretch))
            chosen = [i for i in sorted(longest) if self.stretch_of(self.shown[i]) == number]
            items += self._of_stretch(number, chosen)
        return items, len(self.shown) - len(longest)

    def _of_stretch(self, number: int, chosen: Sequence[int]) -> Iterator[SideBySide]:
        """Yield the passages of a stretch and what stands between them; of the work no more than up to what follows."""
        work, words = self.course.work, self.words[number]
        given = self.course.stretches[number].given
        at, written = work.words_in(given).stop, int(work.cuts_word(given) and len(words) > 0)
        for place in chosen:
            passage = self.shown[place]
            begin = passage.output.start - self.cuts[number]
            yield from self._gap(number, range(at, passage.work.start), range(written, begin))
            yield self._passage(number, place)
            at, written = passage.work.stop, passage.output.stop - self.cuts[number]
        following = self.course.stretches[number + 1 : number + 2]
        end = work.words_in(following[0].given).start if following else len(work.words)
        yield from self._gap(number, range(at, max(at, end)), range(written, len(words)))

    def _given(self, stretch: Stretch) -> SideBySide:
        place = self.course.work.place(self.course.work.words_in(stretch.given))
        return _item("given", place, 0, [(self.course.work.cut(stretch.given), False)], [])

    def _gap(self, number: int, work: range, output: range) -> Iterator[SideBySide]:
        """Yield what stands between passages, the first words of it."""
        if not work and not output:
            return
        theirs = _cut(self.course.work.text, self.course.work.words, work[:GAP])
        ours = _cut(self.course.stretches[number].text, self.words[number], output[:GAP])
        place = self.course.work.place(work)
        yield _item("gap", place, len(output), [(theirs, False)], [(ours, False)])

    def _passage(self, number: int, place: int) -> SideBySide:
        """Return a passage with the text of its first words, and of its last where it is long."""
        passage = self.shown[place]
        whole = passage.words <= HEAD + TAIL
        head = passage.runs if whole else _first_words(passage.runs, HEAD)
        item = _item("passage", self.course.work.place(passage.work), len(passage.output), *self._texts(number, head))
        if not whole:
            tail = _last_words(passage.runs, TAIL)
            item["work_end"], item["output_end"] = self._texts(number, tail)
            item["left_out"] = tail[0].work - (head[-1].work + head[-1].words)
        item["passage"] = place
        return item

    def _texts(self, number: int, runs: Sequence[Run]) -> tuple[Text, Text]:
        """Return the text of runs and of what stands between them, in the work and in the output."""
        work, cut = self.course.work, self.cuts[number]
        theirs = [range(run.work, run.work + run.words) for run in runs]
        ours = [range(run.output - cut, run.output - cut + run.words) for run in runs]
        return (
            _marked(work.text, work.words, theirs),
            _marked(self.course.stretches[number].text, self.words[number], ours),
        )


def _item(kind: str, place: TextPlace, output_words: int, work: Text, output: Text) -> SideBySide:
    return {
        "kind": kind,  # type: ignore[typeddict-item]
        "place": place,
        "output_words": output_words,
        "passage": None,
        "work_text": work,
        "output_text": output,
        "left_out": 0,
        "work_end": [],
        "output_end": [],
    }


def _cut(text: str, words: Words, part: range) -> str:
    """Return the text from the first of some words to the last."""
    return text[int(words.starts[part.start]) : int(words.ends[part.stop - 1])] if part else ""


def _marked(text: str, words: Words, runs: Sequence[range]) -> Text:
    """Return the text of runs, and between them what stands there."""
    pieces: Text = []
    end = 0
    for run in runs:
        start = int(words.starts[run.start])
        if pieces:
            pieces.append((text[end:start], False))
        end = int(words.ends[run.stop - 1])
        pieces.append((text[start:end], True))
    return pieces


def _first_words(runs: Sequence[Run], count: int) -> list[Run]:
    """Return the first words of runs."""
    kept: list[Run] = []
    for run in runs:
        if count <= 0:
            break
        kept.append(run._replace(words=min(run.words, count)))
        count -= run.words
    return kept


def _last_words(runs: Sequence[Run], count: int) -> list[Run]:
    """Return the last words of runs."""
    kept: list[Run] = []
    for run in reversed(runs):
        if count <= 0:
            break
        words = min(run.words, count)
        skipped = run.words - words
        kept.append(Run(run.work + skipped, run.output + skipped, words))
        count -= words
    return kept[::-1]
