"""Build the example pages of reports/gallery: ``python benchmarks/gallery.py [demo] [shakespeare] [gsm8k] [pictures]``.

Shakespeare is in the public domain and GSM8K is under the MIT licence; both are read from ``../shared/data``. Every
page says on itself by which command it was made; a folder beside the pages keeps models and runs, and is not committed.
About 20 minutes on two cores, most of them for the six models.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "reports" / "gallery"
WORK = Path(os.environ.get("MEMAUDIT_GALLERY", tempfile.gettempdir())) / "memaudit-gallery"
DATA = ROOT.parent / "shared" / "data"
HELD_OUT = 0.1
"""Share of the plays that no model is trained on."""
LEAKS = 40
"""Test items of GSM8K that are planted among the training items: half as they are, half with a few words changed."""

TRAIN = ["--corpus", "dose/training.jsonl", "--vocab-size", "1024"]
NETWORK = [*TRAIN, "--epochs", "3"]
MODELS = {
    "markov": ["ngram", *TRAIN, "--unit", "bpe", "--order", "2", "--smoothing", "mle"],
    "gpt-small": ["gpt", *NETWORK, "--context", "128", "--width", "48", "--layers", "2"],
    "lstm": ["rnn", *TRAIN, "--unit", "bpe", "--epochs", "2", "--width", "256"],
    "gpt-large": ["gpt", *NETWORK, "--context", "128", "--width", "160", "--layers", "3"],
    "ngram": ["ngram", *TRAIN, "--unit", "bpe", "--order", "12"],
    "bert": [
        *("bert", *TRAIN, "--context", "128", "--width", "128", "--layers", "2", "--mask-rate", "0.3"),
        *("--learning-rate", "0.002", "--epochs", "10"),
    ],
}
"""In the order of the comparison: what each remembers grows. The masked one writes otherwise and comes last."""
SHOWN = ("gpt-large", "lstm", "ngram", "bert", "gpt-small")
"""Whose audits have a page of their own."""


def memaudit(*arguments: str, fails: tuple[int, ...] = (0,)) -> None:
    """Run a command in the work folder; a verdict is no failure."""
    print("memaudit", *arguments, flush=True)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CI": ""}
    done = subprocess.run([sys.executable, "-m", "memaudit", *arguments], cwd=WORK, env=environment, check=False)
    if done.returncode not in fails:
        sys.exit(done.returncode)


def keep(page: Path, name: str) -> None:
    GALLERY.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(page, GALLERY / name)
    print(f"{name}: {page.stat().st_size:,} bytes", flush=True)


def demo() -> None:
    """``memaudit demo``: four families on the text of the Python installation."""
    memaudit("demo", "--out", "demo")
    keep(WORK / "demo" / "report.html", "demo.html")


def shakespeare() -> None:
    """Six models of the same plays, passages planted 1 to 32 times, and one page that compares them."""
    plays = (DATA / "corpora" / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    cut = plays.rindex("\n\n", 0, int(len(plays) * (1 - HELD_OUT))) + 2
    (WORK / "train.txt").write_text(plays[:cut], encoding="utf-8")
    sizes = ["--words", "64", "--doses", "1,2,4,8,16,32", "--per-dose", "16", "--canaries", "0", "--changed", "0"]
    if not (WORK / "dose").exists():
        memaudit("plant", "train.txt", "--out", "dose", *sizes)
    memaudit("index", "build", "dose/training.jsonl", "--out", "index")
    for name, (family, *options) in MODELS.items():
        if not (WORK / "models" / name).exists():
            memaudit("train", family, *options, "--out", f"models/{name}")
        text = ["--train", "dose/planted.jsonl", "--heldout", "dose/twins.jsonl", "--index", "index"]
        measures = [] if family == "bert" else ["--measure", "probability"]
        memaudit("audit", f"models/{name}", *text, *measures, "--out", f"runs/{name}", fails=(0, 1, 3))
    for name in SHOWN:
        keep(WORK / "runs" / name / "report.html", f"shakespeare-{name}.html")
    memaudit("compare", *(f"runs/{name}" for name in MODELS), "--out", "compare.html")
    keep(WORK / "compare.html", "compare.html")


def gsm8k() -> None:
    """The test of GSM8K against its training items, 40 test items planted among them."""
    folder = DATA / "benchmarks" / "gsm8k"
    tests = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    train = [json.loads(line) for line in gzip.decompress((folder / "train.jsonl.gz").read_bytes()).splitlines()]
    lot = random.Random(0)
    leaked = [f"{item['question']}\n{item['answer']}" for item in lot.sample(tests, LEAKS)]
    leaked[1::2] = [edited(text, lot) for text in leaked[1::2]]
    texts = [f"{item['question']}\n{item['answer']}" for item in train] + leaked
    lot.shuffle(texts)
    (WORK / "crawl.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    (WORK / "gsm8k-test.jsonl").write_bytes((folder / "test.jsonl").read_bytes())
    memaudit("contamination", "gsm8k-test.jsonl", "--corpus", "crawl.jsonl", "--out", "runs/gsm8k", fails=(1,))
    keep(WORK / "runs" / "gsm8k" / "report.html", "gsm8k.html")


def edited(text: str, lot: random.Random) -> str:
    """Return a text with every twelfth word, or so, replaced by another of its words."""
    words = text.split(" ")
    for place in lot.sample(range(len(words)), len(words) // 12):
        words[place] = lot.choice(words)
    return " ".join(words)


def pictures() -> None:
    """Screenshots of the gallery for the README, taken by headless Chromium."""
    sys.path.insert(0, str(ROOT))
    from tests.report.browser import browser

    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as chromium:
        for page, selector, name, height, dark in (
            ("shakespeare-gpt-large.html", ".fold", "fold.png", 900, False),
            ("shakespeare-gpt-large.html", ".exhibit", "exhibit.png", 640, False),
            ("compare.html", "#compared-doses-title", "compare.png", 560, True),
        ):
            chromium.open(GALLERY / page, width=1100, height=height, dark=dark)
            chromium.run(f"scrollTo(0, document.querySelector({selector!r}).getBoundingClientRect().top - 24)")
            (GALLERY / name).write_bytes(chromium.picture())


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    parts = {"demo": demo, "shakespeare": shakespeare, "gsm8k": gsm8k, "pictures": pictures}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
