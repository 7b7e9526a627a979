"""memaudit: does a language model repeat text it was trained on, and has it seen the test?

    import memaudit

    model = memaudit.load_model("models/gpt")
    result = memaudit.audit(model, "train.jsonl", "test.jsonl")
    print(result.verdict, result.exit_code)
    result.to_pandas()

    gate = memaudit.contamination("items.jsonl", "corpus/*.jsonl")
    print(gate.verdict, gate.report["findings"])

Names are loaded when they are first used, so importing memaudit imports neither torch nor pandas.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it: nothing is imported before the command's guard stands
if TYPE_CHECKING:
    from typing import Any

    from memaudit.audits.contamination.run import Contamination, contamination
    from memaudit.audits.extraction.options import AuditOptions
    from memaudit.audits.extraction.result import Audit
    from memaudit.audits.extraction.run import audit
    from memaudit.audits.membership.run import MembershipRun, membership
    from memaudit.errors import MemauditError
    from memaudit.models.base import LanguageModel, NextTokenModel
    from memaudit.models.load import load_model
    from memaudit.records import Decoding, Document, TokenScores, Window
    from memaudit.text.corpus.read import read_corpus
    from memaudit.text.index.corpus_index import CorpusIndex, build_index
    from memaudit.text.tokenize import character_tokenizer, train_tokenizer
    from memaudit.training.train import train_neural, train_ngram

__all__ = [
    "Audit",
    "AuditOptions",
    "Contamination",
    "CorpusIndex",
    "Decoding",
    "Document",
    "LanguageModel",
    "MemauditError",
    "MembershipRun",
    "NextTokenModel",
    "TokenScores",
    "Window",
    "audit",
    "build_index",
    "character_tokenizer",
    "contamination",
    "load_model",
    "membership",
    "read_corpus",
    "train_neural",
    "train_ngram",
    "train_tokenizer",
]

_HOMES = {
    "Audit": "audits.extraction.result",
    "AuditOptions": "audits.extraction.options",
    "Contamination": "audits.contamination.run",
    "CorpusIndex": "text.index.corpus_index",
    "Decoding": "records",
    "Document": "records",
    "LanguageModel": "models.base",
    "MemauditError": "errors",
    "MembershipRun": "audits.membership.run",
    "NextTokenModel": "models.base",
    "TokenScores": "records",
    "Window": "records",
    "audit": "audits.extraction.run",
    "build_index": "text.index.corpus_index",
    "character_tokenizer": "text.tokenize",
    "contamination": "audits.contamination.run",
    "load_model": "models.load",
    "membership": "audits.membership.run",
    "read_corpus": "text.corpus.read",
    "train_neural": "training.train",
    "train_ngram": "training.train",
    "train_tokenizer": "text.tokenize",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memaudit' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"memaudit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
