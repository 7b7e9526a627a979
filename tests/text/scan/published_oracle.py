"""Published contamination rules, written from the words of their papers: slow, obvious, and apart from the product.

Nothing here was taken from memaudit's kernels or from the other tests. Texts are lists of words unless a name says
otherwise; the caller splits and normalises. Every place where a paper leaves a choice is named under "Reading", with
the choice made here and why, so that a difference from a kernel can be laid at the right door.

Sources: Brown et al. 2020 (arXiv 2005.14165) appendix C; Gao et al., lm-evaluation-harness, decontamination;
Chowdhery et al. 2022 (arXiv 2204.02311) section 8; Touvron et al. 2023 (arXiv 2307.09288) appendix A.6; OpenAI 2023
(arXiv 2303.08774) appendix C; Singh et al. 2024 (arXiv 2411.03923) section 2. The words of Chowdhery are given from
memory, and of Singh only the abstract could be read again; those of the others were.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Sequence

Words = Sequence[str]
Documents = Sequence[Sequence[str]]


def grams(words: Words, n: int) -> list[tuple[str, ...]]:
    """All n-grams of a text in order, repeats kept; none where the text has fewer than n words."""
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def share(count: int, total: int) -> float:
    """A part of a whole. Reading: no paper says what the share of an empty text is; nothing of it was seen, so 0."""
    return count / total if total else 0.0


# Spans that may differ in a few places: Llama 2, and the metrics of ConTAM that extend a match.


def spans(item: Words, documents: Documents, exact: int, shortest: int, budget: int) -> Iterator[list[int]]:
    """Every longest matched span: the item's positions, from first to last, that agree with the document's.

    A span begins at any word of the item and of a document, agrees in its first `exact` words, goes on word by word
    with at most `budget` differing positions, ends in a word that agrees, and is at least `shortest` positions long.
    """
    for document in documents:
        for start in range(len(item)):
            for begin in range(len(document)):
                agreeing: list[int] = []
                differing = 0
                for step in range(min(len(item) - start, len(document) - begin)):
                    if item[start + step] == document[begin + step]:
                        agreeing.append(start + step)
                    elif step < exact or differing == budget:
                        break
                    else:
                        differing += 1
                if len(agreeing) >= exact and agreeing and agreeing[-1] - start + 1 >= shortest:
                    yield agreeing


def llama2_contaminated(item: Words, documents: Documents, min_length: int = 11, skip_budget: int = 4) -> list[bool]:
    """Tokens of a sample that are contaminated (Touvron et al. 2023, appendix A.6).

    "We consider a token to be contaminated if it appears in any token n-gram longer than 10 tokens in both the
    evaluation sample and the training set"; "we allow a small 'skipgram budget' of four tokens, so that matched spans
    between an evaluation sample and the training data can differ in at most four positions (we do not allow trailing
    mismatches, or mismatches in the first 10 tokens)".

    Reading:
    - "longer than 10": 11 positions or more. ("10(+)-skipgrams" further down is looser; the definition is the former.)
      A longer "minimum match length L" (20 to 50) is `min_length` itself: at least L positions, differing ones
      included. With 11 it makes no odds: 10 agreeing words and a last one that agrees are 11 agreeing words.
    - "differ in at most four positions": word against word at one offset. Nothing is inserted or left out.
    - "at most four" is for each span. Any word may begin a span, and spans may overlap; a token counts if any takes it.
    - "the first 10 tokens": those of the span, left to right. There is no way to extend a span to the left over a
      mismatch, which would put the mismatch among the first 10.
    - A token at a differing position is not contaminated: it does not appear "in both"; a skip-gram leaves it out.
      (The other reading takes the span whole, and is never less.)
    - A span lies within one document; the shares of many documents add up ("in any").
    - Tokens are the model's; words stand for them here.
    """
    found = [False] * len(item)
    for positions in spans(item, documents, 10, min_length, skip_budget):
        for position in positions:
            found[position] = True
    return found


def llama2_share(item: Words, documents: Documents, min_length: int = 11, skip_budget: int = 4) -> float:
    """Share of tokens contaminated: "the contamination percentage of a sample" is "the percentage of tokens" (A.6)."""
    return share(sum(llama2_contaminated(item, documents, min_length, skip_budget)), len(item))


def llama2_classes(contaminated_share: float) -> set[str]:
    """The "four (non-disjoint) subset types" (A.6), each sample in exactly two of them.

    "'Clean' samples, with less than 20% token contamination", "'Not clean' samples, with greater than (or equal to)
    20%", "'Not dirty' samples, with less than 80%", "'Dirty' samples, with greater than (or equal to) 80%".

    Reading: the text above the list says "> 80%" of the dirty subset; the list of definitions, with "or equal to", is
    taken.
    """
    return {
        "clean" if contaminated_share < 0.2 else "not clean",
        "not dirty" if contaminated_share < 0.8 else "dirty",
    }


# GPT-3: how much of a benchmark is dirty is one rule; what was removed from the training set is another.


def gpt3_words(text: str) -> list[str]:
    """Words as Brown et al. 2020 (appendix C) count them.

    The filter: "we define a gram as a lowercase, whitespace delimited word with no punctuation". The measurement: "in
    words, ignoring all punctuation, whitespace, and casing".

    Reading: punctuation is deleted, not made a space ("don't" is "dont"), and what is left empty is no word, as in the
    released code of the harness that follows this paper. Punctuation is ASCII's, as there.
    """
    return text.lower().translate(str.maketrans("", "", string.punctuation)).split()


def gpt3_lengths(items: Documents) -> list[int]:
    """Every "example length in words", the shortest first."""
    return sorted(len(item) for item in items)


def gpt3_n(items: Documents, synthetic: bool = False) -> int:
    """The N of one dataset (appendix C): between 8 and 13.

    "N is the 5th percentile example length in words [...] we use a minimum value of 8 on non-synthetic tasks. For
    performance reasons, we set a maximum value of 13 for all tasks."

    Reading: the nearest rank, the least length that at least 5% of the items do not exceed. The paper names no method;
    this one gives a whole number that is the length of an item. Interpolation differs only where the lengths about the
    5th percentile differ.
    """
    lengths = gpt3_lengths(items)
    rank = max(1, -(-len(lengths) * 5 // 100))
    percentile = lengths[rank - 1]
    return min(13, percentile if synthetic else max(8, percentile))


def gpt3_dirty(item: Words, documents: Documents, n: int) -> bool:
    """The measurement (appendix C, "Overlap methodology").

    "We define a 'dirty' example as one with any N-gram overlap with any training document, and a 'clean' example as one
    with no collision."

    Reading: any document, however many hold the N-gram. The ten documents belong to the filter below. An item shorter
    than N has no N-gram and so no collision ("examples less than 8 words long, which we ignored").
    """
    own = set(grams(item, n))
    return any(gram in own for document in documents for gram in grams(document, n))


def gpt3_filter_grams(items: Documents, documents: Documents) -> set[tuple[str, ...]]:
    """The 13-grams that the filter removes from the training set (appendix C, "Initial training set filtering").

    "Searching for 13-gram overlaps between all test/development sets used in this work and our training data [...] We
    ignored 13-grams that matched more than 10 training documents".

    Reading: ten documents still count, eleven do not; a document counts once however often it holds the 13-gram.
    """
    tested = {gram for item in items for gram in grams(item, 13)}
    frequency = Counter(gram for document in documents for gram in set(grams(document, 13)))
    return {gram for gram in tested if 1 <= frequency[gram] <= 10}


def gpt3_filter_collides(document: Words, items: Documents, documents: Documents) -> bool:
    """Whether the filter would cut anything out of one training document; `documents` is the whole training set."""
    removed = gpt3_filter_grams(items, documents)
    return any(gram in removed for gram in grams(document, 13))


def pile_dirty(item: Words, documents: Documents) -> bool:
    """The rule of lm-evaluation-harness for the Pile (docs/decontamination.md).

    "OpenAI defined a test document as contaminated if any N-gram overlap existed with any training document. They used
    a range of N values between 8 and 13 depending on dataset, while we just used 13 for simplicity."

    Reading: none needed. It is the measurement above with N = 13, so at any N of 13 or less GPT-3's convicts it too.
    Words are made as by `gpt3_words`, which is what the harness's code does.
    """
    return gpt3_dirty(item, documents, 13)


def palm_share(item: Words, documents: Documents) -> float:
    """Share of an item's 8-grams that were seen (Chowdhery et al. 2022, section 8).

    "At least 70% of the 8-grams in the question, prompt, or target were seen at least once in our training data".

    Reading:
    - "seen at least once in our training data": in any document, each 8-gram for itself; not all in one document.
    - "of the 8-grams": one for each position, so a repeated 8-gram counts as often as it stands there.
    - "the question, prompt, or target": one text at a time, which the caller hands in; the item is contaminated if one
      of its texts is.
    - Fewer than 8 words: no 8-gram, share 0.
    """
    seen = {gram for document in documents for gram in grams(document, 8)}
    own = grams(item, 8)
    return share(sum(gram in seen for gram in own), len(own))


def palm_dirty(item: Words, documents: Documents) -> bool:
    """Contaminated at "at least 70%" (section 8), so at exactly 70% too."""
    return palm_share(item, documents) >= 0.7


# GPT-4 works on characters.


def gpt4_characters(text: str) -> str:
    """A text as OpenAI 2023 (appendix C) compares it.

    "Both evaluation and training data are processed by removing all spaces and symbols, keeping only characters
    (including numbers)."

    Reading: characters are letters and digits of any script. Case is not mentioned, so it stays.
    """
    return "".join(character for character in text if character.isalnum())


def gpt4_starts(item_text: str) -> range:
    """Where a substring of 50 can begin in the processed item: the only place, 0, for 50 characters or fewer."""
    return range(max(1, len(gpt4_characters(item_text)) - 49))


def gpt4_contaminated(item_text: str, document_texts: Sequence[str], draws: Sequence[int]) -> bool:
    """Whether one of the drawn substrings stands in a training document (appendix C).

    "For each evaluation example, we randomly select three substrings of 50 characters (or use the entire example if
    it's less than 50 characters). A match is identified if any of the three sampled evaluation substrings is a
    substring of the processed training example."

    Args:
        item_text: One item, as it is.
        document_texts: Training documents, as they are.
        draws: The starts of the three substrings, out of `gpt4_starts`: chance is the caller's.

    Reading: drawn from the processed text, since that is what is looked up; "less than 50 characters" is counted there
    too. Whether two draws may coincide is not said, and is left to the caller. An item of symbols alone leaves nothing
    to look for and is not contaminated (else the empty text would match everything).
    """
    processed = gpt4_characters(item_text)
    needles = [processed] if len(processed) < 50 else [processed[start : start + 50] for start in draws]
    haystacks = [gpt4_characters(text) for text in document_texts]
    return any(needle in haystack for needle in needles if needle for haystack in haystacks)


def gpt4_matching(item_text: str, document_texts: Sequence[str]) -> list[bool]:
    """For every possible start whether its substring is found: all true or all false decide whatever is drawn."""
    return [gpt4_contaminated(item_text, document_texts, [start]) for start in gpt4_starts(item_text)]


# ConTAM: four scores in [0, 1]; none of them is a verdict before a threshold is chosen.


def contam_gram_positions(item: Words, documents: Documents, n: int, mincount: int = 1) -> list[int]:
    """Starts of the item's contaminated n-grams: those that occur at least `mincount` times in the training data.

    Reading: `mincount` counts occurrences, two in one document being two.
    """
    counts = Counter(gram for document in documents for gram in grams(document, n))
    return [start for start, gram in enumerate(grams(item, n)) if counts[gram] >= mincount]


def contam_token_match(item: Words, documents: Documents, n: int, mincount: int = 1) -> float:
    """Token-match (Singh et al. 2024, section 2): share of tokens that lie in a contaminated n-gram."""
    covered = {start + step for start in contam_gram_positions(item, documents, n, mincount) for step in range(n)}
    return share(len(covered), len(item))


def contam_ngram_match(item: Words, documents: Documents, n: int, mincount: int = 1) -> float:
    """N-gram-match (section 2): share of the item's n-grams that are contaminated; at n = 8, PaLM's share."""
    return share(len(contam_gram_positions(item, documents, n, mincount)), len(grams(item, n)))


def contam_token_extend(item: Words, documents: Documents, n: int, skip_budget: int) -> float:
    """Token-extend (section 2): token-match whose spans go on over up to `skip_budget` mismatches, as in Llama 2.

    Reading: the seed is an exact n-gram and stands first, as there; a span is at least n long and ends in a match; the
    mismatched tokens are not contaminated. So a budget of 0 is token-match.
    """
    covered = {position for span in spans(item, documents, n, n, skip_budget) for position in span}
    return share(len(covered), len(item))


def contam_longest(item: Words, documents: Documents, skip_budget: int, min_length: int) -> float:
    """Longest-match (section 2): as token-extend, but of the longest contaminated span alone, not of their union.

    Abstract: "considering only the longest contaminated substring provides a better signal than considering a union of
    all contaminated substrings".

    Reading: `min_length` is the paper's n. The longest is that with the most contaminated tokens, and these are
    counted, so the score never exceeds token-extend's. A span lies in one document.
    """
    longest = max((len(span) for span in spans(item, documents, min_length, min_length, skip_budget)), default=0)
    return share(longest, len(item))


def contam_epg(correct: Sequence[float], scores: Sequence[float], threshold: float) -> float:
    """Estimated performance gain (section 3): the whole benchmark's result less that of the items left as clean.

    A threshold is chosen for each model and each benchmark by this gain ("model and benchmark specific threshold
    analysis", abstract). The paper fixes none: neither one half nor any other share is its rule, and without results of
    a model there is no verdict, only scores.

    Reading: contaminated is above the threshold, so that at 0 an item without a match stays clean. With no clean item
    the gain is not a number.
    """
    clean = [result for result, score in zip(correct, scores, strict=True) if score <= threshold]
    if not clean:
        return math.nan
    return sum(correct) / len(correct) - sum(clean) / len(clean)
