"""The completion of the tool called memaudit 0.2.0 on the package index: ``PYTHON extraction_peer.py FOLDER``.

Run with an interpreter that has that tool, by extraction_peers.py; prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from memaudit.scoring import greedy_complete, regurgitation_flags
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = json.loads((folder / "pairs.json").read_text())
    greedy_complete(model, tokenizer, pairs[0][0], 2)
    started = time.process_time()
    for prefix, suffix in pairs:
        regurgitation_flags(suffix, greedy_complete(model, tokenizer, prefix, 50))
    print(json.dumps({"ms": (time.process_time() - started) / len(pairs) * 1e3}))


if __name__ == "__main__":
    main()
