"""(n, p) extraction: one scoring pass beside n = 100 sampled continuations, and p_z against 10,000 samples."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from common import Report, interleaved

from memaudit.audits.measures.near_verbatim import BEAMS, BRANCHES, EDITS
from memaudit.metrics.probability import attempts_needed, hit_probability
from memaudit.models.beam import near_texts
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import Decoding, Window
from memaudit.stats import clopper_pearson
from memaudit.text.tokenize import character_tokenizer, train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

QUICK = "--quick" in sys.argv
ATTEMPTS, TOP_K, PREFIX, SUFFIX = 100, 40, 50, 50
PROMPTS = 8
SAMPLES, WINDOWS = (1_000, 20) if QUICK else (10_000, 100)
DECODINGS = (Decoding(1.0, seed=1), Decoding(0.7, top_k=5, seed=1), Decoding(1.3, top_p=0.9, seed=1))


def gpt2_124m() -> CausalTransformer:
    """The configuration of GPT-2 124M with random weights: speed does not depend on them."""
    tokenizer = character_tokenizer({chr(0x20000 + i): i for i in range(50_256)})
    return new_gpt(tokenizer, width=768, layers=12, heads=12, context_length=1024)


def speed(report: Report) -> None:
    model = gpt2_124m()
    random = np.random.default_rng(0)
    texts = random.integers(0, 50_257, (PROMPTS, PREFIX + SUFFIX)).astype(np.int32)
    windows = [Window(text[:PREFIX], text[PREFIX:]) for text in texts]
    decoding = Decoding(1.0, top_k=TOP_K)

    def sampled() -> Any:
        """One prompt, all attempts in one batch: the best case of sampling."""
        ids = torch.as_tensor(windows[0].prefix[None].astype(np.int64))
        return model.module.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=TOP_K, num_return_sequences=ATTEMPTS,
            max_new_tokens=SUFFIX, min_new_tokens=SUFFIX, pad_token_id=0,
        )  # fmt: skip

    def passed() -> None:
        for scores in model.score(windows, decoding):
            log_p = float(scores.log_prob.sum())
            hit_probability([log_p], [ATTEMPTS])
            attempts_needed(log_p, 0.9)

    times = interleaved({"sampled": sampled, "passed": passed}, repeats=1 if QUICK else 3)
    one = times["passed"] / PROMPTS
    note = f"GPT-2 124M configuration, {PREFIX}+{SUFFIX} tokens, top-k {TOP_K}, fp32, 1 thread"
    report.add(f"transformers generate, {ATTEMPTS} samples of a prompt", times["sampled"], unit="CPU s")
    report.add("(n, p) from our pass, a prompt", one, unit="CPU s", note=f"{PROMPTS} prompts together")
    report.add("(n, p) at n = 100, pass / sampling", times["sampled"] / one, goal=150, note=note)


def small_gpt() -> tuple[CausalTransformer, list[np.ndarray]]:
    """A small GPT that has half learnt a text: its samples are neither certain nor hopeless."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefgh"), 5)) for _ in range(40)]
    texts = [" ".join(random.choice(words, 40)) for _ in range(60)]
    tokenizer = train_tokenizer("char", texts)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    model = new_gpt(tokenizer, width=32, layers=1, heads=2, context_length=64)
    fit(model, ids, TrainingOptions.for_family("gpt", epochs=4, context_length=32))
    return model, ids


def agreement(report: Report) -> None:
    """Count the windows whose p_z lies in the 99% interval of what sampling finds."""
    model, ids = small_gpt()
    random = np.random.default_rng(1)
    places = [(int(random.integers(len(ids))), int(random.integers(150))) for _ in range(WINDOWS)]
    windows = [Window(ids[d][s : s + 8], ids[d][s + 8 : s + 11]) for d, s in places]
    for decoding in DECODINGS:
        started = time.process_time()
        p_z = [float(np.exp(scores.log_prob.sum())) for scores in model.score(windows, decoding)]
        inside, middle = 0, 0
        for window, p in zip(windows, p_z, strict=True):
            drawn = np.array(model.continuations([window.prefix] * SAMPLES, len(window.suffix), decoding))
            interval = clopper_pearson(int((drawn == window.suffix).all(axis=1).sum()), SAMPLES, 0.99)
            inside += interval is not None and interval.low <= p <= interval.high
            middle += 10 / SAMPLES < p < 1 - 10 / SAMPLES
        cut = f", top-k {decoding.top_k}" * bool(decoding.top_k) + f", top-p {decoding.top_p}" * bool(decoding.top_p)
        report.add(
            f"p_z inside the 99% interval, T = {decoding.temperature:g}{cut}",
            100 * inside / len(windows),
            unit="%",
            goal=97,
            note=f"{WINDOWS} windows, {SAMPLES:,} samples each, {middle} of them neither rare nor certain,"
            f" {time.process_time() - started:.0f} CPU s",
        )


def near_verbatim(report: Report) -> None:
    """How much the search for near texts adds, and what share of the mass within the edits it finds."""
    model, ids = small_gpt()
    windows = [Window(text[:20], text[20:40]) for text in ids[:20]]
    decoding = Decoding(0.7, seed=2)
    started = time.process_time()
    found = list(near_texts(model, windows, decoding, edits=EDITS, beams=BEAMS, branches=BRANCHES))
    seconds = time.process_time() - started
    gains = [near.log_bound(EDITS) - near.log_bound(0) for near in found]
    note = f"{len(windows)} windows of 20+20 tokens, {BEAMS} beams, {seconds / len(windows):.3f} CPU s a window"
    report.add(f"near-verbatim bound / p_z within {EDITS} edits, median", float(np.exp(np.median(gains))), note=note)


def main() -> None:
    torch.set_num_threads(1)
    report = Report("probability")
    speed(report)
    agreement(report)
    near_verbatim(report)
    report.finish()


if __name__ == "__main__":
    main()
