"""Kernels are compiled once: for one type of each argument, whoever calls them.

A user waits for it at the first command after installation. A kernel that is in numba's cache is not compiled, so all
of them are seen after installation, and else those of the files that have changed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.forked import call

OF_ANY_TYPE = {"memaudit.text.words.word_kernels._rotate", "memaudit.text.words.word_kernels._enlarged"}
"""Helpers of two lines, for arrays of bytes and of others."""


def test_a_kernel_is_compiled_for_one_type_of_each_argument(tmp_path: Path) -> None:
    environment = dict(os.environ, HOME=str(tmp_path))
    done = call([], tmp_path, environment, function="tests.test_kernels:print_types")
    assert done.returncode == 0, done.stderr
    compiled = json.loads(done.stdout.splitlines()[-1])
    assert {"memaudit.text.words.word_kernels.hash_documents", "memaudit.models.infinity._score"} <= set(compiled)
    assert {name: types for name, types in compiled.items() if len(types) > 1 and name not in OF_ANY_TYPE} == {}


def print_types() -> None:
    """Print, for each kernel, what it is compiled for after what `tests.forked` has done, and questions to an index."""
    from numba.core.dispatcher import Dispatcher

    from memaudit import audit, build_index, trace
    from memaudit.text.index.statistics import index_statistics
    from memaudit.training.train import CorpusOptions, train_ngram

    text = "one two three four five six seven eight nine ten eleven twelve"
    for name, words in (("train", text), ("heldout", text[::-1])):
        rows = [json.dumps({"text": f"{words} {i % 9} {words}"}) + "\n" for i in range(20)]
        Path(f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    index = build_index(["train.jsonl"], "index")
    index_statistics(index)
    trace(index, text)
    train_ngram(CorpusOptions(["train.jsonl"], "char"), Path("model"), order="infinity", smoothing="mle")
    audit("model", "train.jsonl", "heldout.jsonl", out="audit", prefix=9, suffix=9)
    modules = [module for name, module in sys.modules.items() if name.startswith("memaudit.")]
    kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, Dispatcher)}
    names = {kernel: f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}" for kernel in kernels}
    sys.stdout.write(
        json.dumps({names[kernel]: [*map(str, kernel.signatures)] for kernel in kernels if kernel.signatures}) + "\n"
    )
