"""Every module has a test file of its name that imports it, or stands in a table with the file that tests it, and why.

A test file is of a module's name where it is called after it, after a package that it is in, or after both.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"

WHY = {
    "": "the package itself only names what it offers",
    "__main__": "it is a process: its outcome is an exit code",
    "audits": "a part of a question, which is tested from its text to its verdict, or of several questions",
    "cli": "commands are called as a shell calls them, never imported",
    "engines": "worker processes are tested by the search that they work for",
    "errors": "classes without behaviour: that they are raised is tested wherever input is bad",
    "metrics": "the counting that a metric rests on, which is compared with other implementations of the metric",
    "models": "a part of a family, held to the contract of all families or tested with the family that it is for",
    "records": "plain records, which every audit fills in",
    "report": "a part of a page, a screen or a format, which are read as a whole",
    "runs": "types of files, which are compared with what runs of every kind write",
    "stats": "one file compares all statistics with their published values",
    "text": "kernels and tables of an algorithm, which is tested at its door against a plain one",
    "training": "a part of a training, which is tested from the text to the folder of the model",
}
"""Why modules of a unit are tested by a file of another name."""

TESTED_BY = {
    "audits/test_about_documents.py": "audits.detectors.base audits.documents audits.model_description",
    "audits/test_benchmark.py": "audits.benchmark.naming",
    "audits/test_blind.py": "audits.comparison.blind_baseline audits.comparison.nulls",
    "audits/test_cloze.py": "audits.measures audits.subject",
    "audits/test_contamination.py": "audits.contamination.doubts "
    "audits.contamination.evidence audits.contamination.scan_log",
    "audits/test_counterfactual.py": "audits.counterfactual.attack audits.counterfactual.conclude "
    "audits.suite cli.counterfactual",
    "audits/test_coverage.py": "audits.measures.covering",
    "audits/test_endpoint.py": "audits.server_section report.glossary",
    "audits/test_endpoint_alike.py": "models.remote.model models.remote.reach",
    "audits/test_error_rates.py": "audits.comparison.detection audits.detectors.order_totals",
    "audits/test_exploitation.py": "audits.exploitation.conclude audits.exploitation.section cli.exploitation",
    "audits/test_extraction.py": "audits.extraction.conclude audits.extraction.inputs audits.extraction.limits "
    "audits.extraction.plan audits.self_tests records audits.measures.protocol",
    "audits/test_gap.py": "audits.gap.conclude audits.gap.items audits.gap.section cli.gap text.corpus.dates",
    "audits/test_extraction_sampling.py": "audits.extraction.finished audits.extraction.means",
    "audits/test_guided.py": "audits.logged",
    "audits/test_judgement.py": "audits.work.blocks audits.work.power",
    "audits/test_laws.py": "audits.laws.conclude audits.laws.section cli.laws",
    "audits/test_likeness.py": "audits.contamination.judgement runs.contamination_report",
    "audits/test_membership.py": "audits.membership.conclude audits.membership.sides",
    "audits/test_membership_measure.py": "audits.detectors.blind_baseline "
    "audits.detectors.membership audits.detectors.membership_section",
    "audits/test_membership_power.py": "audits.comparison.power audits.comparison.verdict",
    "audits/test_membership_scores.py": "audits.comparison.scores audits.document_scores",
    "audits/test_overlap.py": "audits.comparison.options",
    "audits/test_own_text.py": "text.corpus.fields text.corpus.rows text.corpus.streams text.corpus.json_kernel",
    "audits/test_peers.py": "audits.comparison.reference_models audits.comparison.suspects",
    "audits/test_probability.py": "audits.measures.near_verbatim",
    "audits/test_reasons.py": "audits.extraction.result",
    "audits/test_reconstruction.py": "audits.reconstruction.conclude "
    "audits.reconstruction.section cli.reconstruct report.charts.reconstruction_chart "
    "report.reconstruction_disclosure report.reconstruction_page report.reconstruction_terminal",
    "audits/test_start_token.py": "audits.bare_model",
    "audits/test_structured.py": "audits.benchmark.structured",
    "audits/test_use.py": "audits.measures.prompts",
    "audits/test_work.py": "audits.work.conclude audits.work.exhibits audits.work.near audits.work.section "
    "audits.work.wording cli.work",
    "audits/test_work_reading.py": "audits.work.passing",
    "audits/test_workers.py": "engines.processes",
    "cli/test_answers.py": "cli.answers",
    "cli/test_audit.py": "cli.audit",
    "cli/test_contamination.py": "__main__ cli.baseline cli.contamination cli.merge",
    "cli/test_index.py": "cli.index",
    "cli/test_output.py": "cli.output",
    "cli/test_plant.py": "cli.plant",
    "cli/test_process.py": "cli.failures cli.process cli.signals",
    "cli/test_report.py": "cli.report report.cases report.compare_terminal "
    "report.rejections report.sections_page report.sections_terminal",
    "cli/test_sample.py": "cli.sample",
    "cli/test_trace.py": "cli.trace",
    "contracts/test_models.py": "models.caches models.loading.description models.slots models.transformer_base",
    "models/loading/test_hub.py": "models.loading.origin",
    "models/loading/test_pickled.py": "models.loading.archives models.loading.pickles",
    "faults/test_labels.py": "audits.extraction.controls",
    "faults/test_swapped.py": "audits.contamination.search_target audits.lifecycle runs.inputs",
    "metrics/test_fuzzy.py": "metrics.ngrams",
    "models/loading/test_adapters.py": "models.loading.adapter_settings",
    "models/remote/test_dialects.py": "models.remote.dialects.answers models.remote.results",
    "models/test_decoding.py": "models.torch_scores",
    "models/test_masked.py": "models.masked_rows",
    "models/test_ngram.py": "models.ngram_rows",
    "models/loading/test_folder.py": "models.loading.build models.loading.classes "
    "models.loading.settings models.loading.tokenizer models.loading.weights",
    "models/test_rnn.py": "models.multiplicative",
    "models/test_text_alone.py": "audits.needs",
    "models/test_transformer.py": "models.body_head models.products",
    "report/charts/test_charts.py": "report.charts.drawing_process report.charts.svg",
    "report/charts/test_treemap.py": "report.charts.distribution_chart",
    "report/formats/test_junit.py": "report.contamination_disclosure report.formats.junit report.kinds.contamination",
    "report/formats/test_sarif.py": "report.problems",
    "report/test_alignment.py": "audits.contamination.marking",
    "report/test_compare.py": "cli.compare report.training_curve",
    "report/test_contamination_terminal.py": "report.contamination_wording",
    "report/test_disclosure.py": "report.extraction_disclosure report.formats report.formats.json",
    "report/test_extensions.py": "audits.result report.formats.base",
    "report/test_extraction_page.py": "report.formats.html report.kinds.extraction report.page",
    "report/test_index_page.py": "report.index_terminal",
    "report/test_kinds.py": "report.blocks",
    "report/test_membership.py": "report.kinds.membership report.membership_terminal",
    "report/test_same_story.py": "report.formats.md report.formats.screen",
    "report/test_sections.py": "report.charts.graphs",
    "report/test_terminal.py": "report.extraction_terminal",
    "report/test_work_compare.py": "report.charts.difference_strip report.charts.strips report.comparisons "
    "report.work_compare_terminal",
    "report/test_work.py": "report.work_disclosure report.work_exhibits report.work_page report.work_terminal",
    "runs/test_directory.py": "runs.files",
    "runs/test_schema.py": "cli.schema runs.extraction_report runs.log_lines runs.measured_lines runs.options "
    "runs.parts runs.plans runs.reconstruction runs.reconstruction_report runs.report_parts "
    "runs.reports runs.schemas runs.work_plan runs.work_report",
    "stats/test_stats.py": "stats.power",
    "test_architecture.py": "",
    "test_config.py": "errors",
    "test_demo.py": "cli.demo text.planting.passages",
    "test_families.py": "audits.comparison.references audits.small_models",
    "text/chat/test_rendering.py": "text.chat.sandbox",
    "text/chat/test_replies.py": "text.chat.named",
    "text/corpus/test_formats.py": "text.corpus.csv_format text.corpus.formats text.corpus.hub text.corpus.json_format",
    "text/corpus/test_columns.py": "text.corpus.columns",
    "text/corpus/test_read.py": "text.corpus.tally",
    "text/corpus/test_warc.py": "text.corpus.warc",
    "text/index/test_build_index.py": "text.index.build text.index.manifest text.index.memory",
    "text/index/test_corpus_index.py": "text.index.units",
    "text/index/test_index_statistics.py": "text.index.repeats",
    "text/scan/test_scan_kernel.py": "text.scan.scripts text.scan.tables text.scan.tally text.scan.weights",
    "text/scan/test_scan_result.py": "text.scan.matching",
    "text/words/test_escapes.py": "text.words.markup",
    "text/words/test_visible_text.py": "text.words.escape_kernels text.words.span_kernels text.words.word_kernels",
    "training/test_classifier.py": "training.classifier_options",
    "training/test_loop.py": "training.checkpoint",
    "training/test_train.py": "cli.train training.saving",
}
"""Modules without a test file of their name."""

BY_NAME = {"audits.measures.protocol", "report.kinds.membership", "report.membership_terminal",
           "report.charts.drawing_process", "report.formats.junit"}  # fmt: skip
"""Loaded by their names at run time or started as a program, so that no import leads to them."""
ENTRIES = [(module, file) for file, modules in TESTED_BY.items() for module in (modules.split() or [""])]


def path_of(module: str) -> Path | None:
    """Return the file of a module, if there is one."""
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@cache
def imported(file: Path) -> frozenset[str]:
    """Return the modules of memaudit and of the tests that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in found if name.split(".")[0] in ("memaudit", "tests") and path_of(name))


@cache
def reached(file: Path) -> frozenset[str]:
    """Return the modules that an import of a file leads to."""
    found: set[str] = set()
    left = set(imported(file))
    while left:
        name = left.pop()
        found.add(name)
        path = path_of(name)
        assert path is not None
        left |= imported(path) - found
    return frozenset(found)


def modules() -> dict[str, set[str]]:
    """Return modules that define something, without ``memaudit.``, and what test files of their names are called."""
    found = {}
    for file in sorted((ROOT / "memaudit").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree)):
            continue
        parts = [part for part in file.relative_to(ROOT / "memaudit").with_suffix("").parts if part != "__init__"]
        own, packages = parts[-1:], parts[:-1]
        names = {*own, *packages, *(f"{p}_{o}" for p in packages for o in own)}
        found[".".join(parts)] = {f"test_{name}.py" for name in names}
    return found


def full(module: str) -> str:
    return f"memaudit.{module}".rstrip(".")


def has_its_own(module: str, names: set[str]) -> bool:
    return any(full(module) in imported(file) for name in names for file in TESTS.rglob(name))


def test_every_module_has_a_test_file_or_a_reason() -> None:
    listed = [module for module, _ in ENTRIES]
    assert len(listed) == len(set(listed))
    without = {module for module, names in modules().items() if not has_its_own(module, names)}
    assert sorted(without - set(listed)) == [], "without a test file of their name that imports them"
    assert sorted(set(listed) - without) == [], "no longer needed"
    assert {module.split(".")[0] for module in listed} == set(WHY)


@pytest.mark.parametrize(("module", "file"), ENTRIES, ids=[module or "memaudit" for module, _ in ENTRIES])
def test_the_file_of_the_table_comes_to_the_module(module: str, file: str) -> None:
    beside = [path_of(name) for name in reached(TESTS / file) if name.startswith("tests.")]
    text = "".join(path.read_text(encoding="utf-8") for path in [TESTS / file, *beside] if path)
    last = module.rpartition(".")[2]
    if module in BY_NAME:
        assert full(module) not in reached(TESTS / file), "no longer needed"
        assert last.partition("_")[0] in text
    elif module.startswith("cli.") and full(module) not in reached(TESTS / file):
        assert {"tests.forked", "tests.cli.calls", "memaudit.cli.app"} & reached(TESTS / file)
        assert f'"{last}"' in text or last in ("output", "process", "signals")
    else:
        assert full(module) in reached(TESTS / file)
