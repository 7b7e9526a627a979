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

    from memaudit.audits.answers.run import audit_answers
    from memaudit.audits.contamination.run import Contamination, contamination, merge
    from memaudit.audits.counterfactual.run import counterfactual
    from memaudit.audits.during_training.callback import MemorizationCallback
    from memaudit.audits.exploitation.run import exploitation
    from memaudit.audits.extraction.options import AuditOptions
    from memaudit.audits.extraction.result import Audit
    from memaudit.audits.extraction.run import audit
    from memaudit.audits.gap.run import GapRun, gap
    from memaudit.audits.laws.run import laws
    from memaudit.audits.membership.run import MembershipRun, membership
    from memaudit.audits.reconstruction.options import ReconstructionOptions
    from memaudit.audits.reconstruction.run import ReconstructionRun, reconstruct
    from memaudit.audits.result import RunResult, VerdictResult
    from memaudit.audits.work.options import WorkOptions
    from memaudit.audits.work.run import WorkRun, work
    from memaudit.errors import MemauditError
    from memaudit.models.base import LanguageModel, NextTokenModel
    from memaudit.models.loading.load import load_model
    from memaudit.models.loading.objects import from_transformers
    from memaudit.models.remote.address import Endpoint
    from memaudit.records import Decoding, Document, TokenScores, Window
    from memaudit.report.compare import Comparison, compare
    from memaudit.text.corpus.objects import Texts
    from memaudit.text.corpus.read import read_corpus
    from memaudit.text.index.corpus_index import CorpusIndex, build_index
    from memaudit.text.index.trace import trace
    from memaudit.text.planting.dose_kit import plant_corpus as plant
    from memaudit.text.tokenize import character_tokenizer, train_tokenizer
    from memaudit.training.train import train_neural, train_ngram

__all__ = [
    "Audit",
    "AuditOptions",
    "Comparison",
    "Contamination",
    "CorpusIndex",
    "Decoding",
    "Document",
    "Endpoint",
    "GapRun",
    "LanguageModel",
    "MemauditError",
    "MembershipRun",
    "MemorizationCallback",
    "NextTokenModel",
    "ReconstructionOptions",
    "ReconstructionRun",
    "RunResult",
    "Texts",
    "TokenScores",
    "VerdictResult",
    "Window",
    "WorkOptions",
    "WorkRun",
    "audit",
    "audit_answers",
    "build_index",
    "character_tokenizer",
    "compare",
    "contamination",
    "counterfactual",
    "exploitation",
    "from_transformers",
    "gap",
    "laws",
    "load_model",
    "membership",
    "merge",
    "plant",
    "read_corpus",
    "reconstruct",
    "trace",
    "train_neural",
    "train_ngram",
    "train_tokenizer",
    "work",
]

_HOMES = {
    "Audit": "audits.extraction.result",
    "AuditOptions": "audits.extraction.options",
    "Comparison": "report.compare",
    "Contamination": "audits.contamination.run",
    "CorpusIndex": "text.index.corpus_index",
    "Decoding": "records",
    "Document": "records",
    "Endpoint": "models.remote.address",
    "GapRun": "audits.gap.run",
    "LanguageModel": "models.base",
    "MemauditError": "errors",
    "MembershipRun": "audits.membership.run",
    "MemorizationCallback": "audits.during_training.callback",
    "NextTokenModel": "models.base",
    "ReconstructionOptions": "audits.reconstruction.options",
    "ReconstructionRun": "audits.reconstruction.run",
    "RunResult": "audits.result",
    "Texts": "text.corpus.objects",
    "TokenScores": "records",
    "VerdictResult": "audits.result",
    "Window": "records",
    "WorkOptions": "audits.work.options",
    "WorkRun": "audits.work.run",
    "audit": "audits.extraction.run",
    "audit_answers": "audits.answers.run",
    "build_index": "text.index.corpus_index",
    "character_tokenizer": "text.tokenize",
    "compare": "report.compare",
    "contamination": "audits.contamination.run",
    "counterfactual": "audits.counterfactual.run",
    "exploitation": "audits.exploitation.run",
    "from_transformers": "models.loading.objects",
    "gap": "audits.gap.run",
    "laws": "audits.laws.run",
    "load_model": "models.loading.load",
    "membership": "audits.membership.run",
    "merge": "audits.contamination.run",
    "plant": "text.planting.dose_kit:plant_corpus",
    "read_corpus": "text.corpus.read",
    "reconstruct": "audits.reconstruction.run",
    "trace": "text.index.trace",
    "train_neural": "training.train",
    "train_ngram": "training.train",
    "train_tokenizer": "text.tokenize",
    "work": "audits.work.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memaudit' has no attribute {name!r}")
    from importlib import import_module

    home, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(f"memaudit.{home}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
