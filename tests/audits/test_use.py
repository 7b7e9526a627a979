"""Ways of asking: what is asked, what counts as given away, and a model whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.measures.prompts import INSTRUCTIONS, document_prompts, free_prompts, replaced, title_of
from memaudit.audits.measures.use import FREE, LENGTH, SPAN, given_away
from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.index.corpus_index import CorpusIndex, build_index
from memaudit.text.tokenize import train_tokenizer
from tests.audits.test_extraction import oracle, unique_text, write_jsonl

TEXTS = [" ".join(topics[name].split())[:3000] for name in sorted(topics)[:12]]
DOCUMENTS = [Document(str(i), text, f"a:{i}") for i, text in enumerate(TEXTS)]
TOKENIZER = train_tokenizer("bpe", TEXTS, 600)
INDEX = CorpusIndex.of_documents(DOCUMENTS)


def test_a_run_of_the_corpus_is_measured_in_tokens() -> None:
    copied = TEXTS[3][400:900]
    whole = len(TOKENIZER.encode_batch([copied])[0])
    longest, tokens = given_away(copied, TOKENIZER, INDEX)
    assert whole - 6 <= longest == tokens <= whole
    framed = f"zzyzx qwfp {copied} arstd zzyzx"
    assert abs(given_away(framed, TOKENIZER, INDEX)[0] - longest) <= 4
    assert given_away(copied.upper(), TOKENIZER, INDEX)[0] > SPAN


def test_short_runs_and_strange_words_give_nothing_away() -> None:
    words = TEXTS[0].split()
    shuffled = np.random.default_rng(0).permutation(words)[:200]
    longest, tokens = given_away(" ".join(shuffled), TOKENIZER, INDEX)
    assert longest < SPAN
    assert tokens == 0
    assert given_away("", TOKENIZER, INDEX) == (0, 0)
    assert given_away("zzyzx qwfp", TOKENIZER, INDEX) == (0, 0)


def test_runs_that_overlap_count_their_tokens_once() -> None:
    one, other = TEXTS[1][:700], TEXTS[2][:700]
    _, tokens = given_away(f"{one} {other}", TOKENIZER, INDEX)
    assert tokens <= len(TOKENIZER.encode_batch([f"{one} {other}"])[0])
    assert tokens > 2 * SPAN


def test_every_way_of_asking_for_a_document() -> None:
    prompts = document_prompts(DOCUMENTS[4], True, TOKENIZER, 100, 0)
    ways = {p.way: p for p in prompts}
    assert [w for w in ways if w.startswith("its first")] == [
        f"its first {n} tokens{how}" for how in (", greedy", "") for n in (10, 50, 100)
    ]
    ids = TOKENIZER.encode_batch([TEXTS[4]])[0].ids
    assert np.array_equal(ways["its first 50 tokens"].ids, ids[:50])
    assert ways["its first 50 tokens, greedy"].greedy
    assert not ways["its first 50 tokens"].greedy
    capitals = TOKENIZER.decode(ways["its beginning in capitals"].ids)
    assert TOKENIZER.decode(ids[:50]).upper().endswith(capitals)
    assert max(len(p.ids) for p in prompts) <= 100


def test_titles_sentences_and_edits() -> None:
    assert title_of("The Title\n\nFirst sentence. Second.") == "The Title"
    assert title_of("A line that goes on without an end, and so on, for more than twelve words. Then\nmore") == (
        "A line that goes on without an end, and so on, for more than twelve words."
    )
    assert title_of("no end") == "no end"
    assert title_of("") == ""
    before = TEXTS[5][:300]
    after = replaced(before, DOCUMENTS[5], 1)
    changed = sum(a != b for a, b in zip(before.split(), after.split(), strict=True))
    assert 0 < changed <= math.ceil(len(before.split()) / 3)
    assert replaced(before, DOCUMENTS[5], 1) == after
    assert replaced(before, DOCUMENTS[5], 2) != after


def test_free_prompts_take_turns() -> None:
    prompts = free_prompts(TOKENIZER, 25, [np.array([7], np.int32)], 200)
    told, nothing = prompts[:25], prompts[25:]
    assert len({p.ids.tobytes() for p in told}) == len(INSTRUCTIONS)
    assert all(len(p.ids) == 0 for p in nothing)  # the tokenizer has a start token
    assert len({p.document for p in prompts}) == 50


def test_an_oracle_gives_away_what_it_is_asked_for(tmp_path: Path) -> None:
    texts = unique_text(30, 1, words=40)
    corpora = (
        write_jsonl(tmp_path / "train.jsonl", texts),
        write_jsonl(tmp_path / "heldout.jsonl", unique_text(30, 2, words=40)),
    )
    options = AuditOptions(prefix=10, suffix=10, measures=("use",))
    result = audit(oracle(texts), *corpora, out=tmp_path / "run", options=options)
    section, _ = result.report["sections"]
    rows = {(r[0], r[1]): r for r in section["tables"][0]["rows"]}
    assert rows["its first 50 tokens, greedy", "training"][2:5] == [30, 30, 1000.0]
    assert rows["its first 50 tokens, greedy", "training"][8] > LENGTH - 12
    # An n-gram of such order can only recite, whatever it is asked, to the end of a text; one of order 2 cannot.
    assert rows["its first 100 tokens, greedy", "held-out"][2] >= 20
    assert "200 tokens, greedy (training): 1,000" in section["summary"]
    assert "200 tokens, greedy (held-out): " in section["summary"]
    assert not any("ordinary use" in limit for limit in result.report["limits"])
    other = audit(oracle(texts, order=2), *corpora, out=tmp_path / "short", options=options)
    assert sum(row[2] for row in other.report["sections"][0]["tables"][0]["rows"]) == 0
    assert rows["nothing: unprompted", "no document"][3] == FREE
    # From the start of a text every way on is a training text: an oracle that starts from nothing recites.
    assert rows["nothing: unprompted", "no document"][2] > FREE / 2
    assert {s["name"] for s in section["graphs"][0]["series"]} == {
        f"{side}, {how}" for side in ("training", "held-out") for how in ("greedy", "sampled")
    }


def test_samples_of_the_same_prompt_differ(tmp_path: Path) -> None:
    texts = unique_text(20, 1, words=40)
    corpora = (
        write_jsonl(tmp_path / "train.jsonl", texts),
        write_jsonl(tmp_path / "heldout.jsonl", unique_text(20, 2, words=40)),
    )
    folder = tmp_path / "run"
    audit(oracle(texts), *corpora, out=folder, options=AuditOptions(prefix=10, suffix=10, measures=("use",)))
    from memaudit.runs.directory import read_items

    longest = [r["longest"] for r in read_items(folder).values() if r.get("way") == "nothing: unprompted"]
    assert len(longest) == FREE
    assert len(set(longest)) > 3


def test_long_instructions_lose_their_beginning_where_a_model_reads_little() -> None:
    whole = TOKENIZER.encode_batch([INSTRUCTIONS[0]])[0].ids
    prompts = free_prompts(TOKENIZER, 10, [whole[:1]], 3)
    assert max(len(p.ids) for p in prompts) == 3
    assert np.array_equal(prompts[0].ids, whole[-3:])


def test_words_of_unknown_tokens_alone_are_replaced_by_their_like() -> None:
    assert replaced("<unk> <unk> <unk>", Document("1", "\u2026 \u2026 \u2026", "a:1"), 0) == "<unk> <unk> <unk>"


def test_windows_without_documents_are_refused(tmp_path: Path) -> None:
    texts = unique_text(3, 1)
    model = oracle(texts)
    ids = np.stack([e.ids[:20] for e in model.tokenizer.encode_batch(texts)])
    np.save(tmp_path / "p.npy", ids[:, :12])
    np.save(tmp_path / "s.npy", ids[:, 12:])
    build_index([write_jsonl(tmp_path / "a.jsonl", texts)], tmp_path / "index")
    pair = (tmp_path / "p.npy", tmp_path / "s.npy")
    with pytest.raises(InputError, match="no documents to make prompts of"):
        audit(model, windows=pair, index=tmp_path / "index", out=tmp_path / "run", measures=("use",))


def test_no_index_no_measure(tmp_path: Path) -> None:
    texts = unique_text(10, 1)
    corpora = write_jsonl(tmp_path / "a.jsonl", texts), write_jsonl(tmp_path / "b.jsonl", unique_text(10, 2))
    options = AuditOptions(prefix=10, suffix=10, measures=("use",), copies=False)
    with pytest.raises(InputError, match="give --index"):
        audit(oracle(texts), *corpora, out=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()  # said before anything is measured
