"""Settings and fixtures shared by all tests: offline and watched, few threads, real data where it lies beside us."""

from __future__ import annotations

import json
import os
import runpy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
# Small models gain nothing by a second thread and lose much to waiting for it on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Texts are withheld where a continuous integration runs; most tests look at what a person sees.
os.environ.pop("CI", None)

# Nothing here may reach for a network: not this process, and not one that a test starts.
_GUARD = Path(__file__).parent / "guard"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_GUARD), os.environ.get("PYTHONPATH")]))
_handle, _REACHED = tempfile.mkstemp(prefix="reached-")
os.close(_handle)
os.environ["MEMAUDIT_TEST_REACHED"] = _REACHED
runpy.run_path(str(_GUARD / "sitecustomize.py"))

FIRST = ("test_kernels.py", "test_style.py")
"""What one of two processes compiles for both, and what the other may do meanwhile without kernels."""
FORKING = ("test_crash.py", "test_crash_endpoint.py", "test_inputs.py", "test_tampering.py", "test_batches.py")
"""Tests that fork, the first of them in the cleanest process."""
LONG = ("test_demo.py", "test_browser.py", "test_contamination.py", "test_exploitation.py")
"""Tests of a minute and more, which start before the short ones, so that no process idles at the end."""
TESTS = Path(__file__).parent
QUICK = (
    *("metrics", "stats", "contracts/test_metrics.py", "golden", "runs/test_schema.py", "test_architecture.py"),
    *("test_config.py", "test_families.py", "test_findings.py", "test_plugins.py", "cli/test_groups.py"),
    *("cli/test_options.py", "models/test_ngram.py", "models/test_text_alone.py", "report/test_kinds.py"),
    *("text/corpus/test_read.py", "text/windows", "text/words/test_normalize.py", "audits/test_contamination.py"),
)
"""Files and folders of ``-m quick``: a minute that tells whether the house stands."""
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real corpora and weights that is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of real corpora and weights does not lie beside this checkout")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fail a test during which anything reached for a network."""
    yield
    reached = Path(_REACHED).read_text(encoding="ascii")
    Path(_REACHED).write_bytes(b"")
    assert not reached, reached


@pytest.fixture(scope="session", autouse=True)
def files_fit_their_types() -> Iterator[None]:
    """Fail a test during which a run of any kind wrote a log or a report that its type does not describe."""
    from memaudit.runs.directory import RunDirectory
    from memaudit.runs.files import strict_json
    from memaudit.runs.log_lines import LOGS
    from memaudit.runs.plans import PLANS
    from memaudit.runs.reports import REPORTS
    from memaudit.runs.schema import misfit

    finish = RunDirectory.finish

    def checked(run: RunDirectory, report: Mapping[str, Any]) -> None:
        kind = run.plan.get("kind")
        if kind in PLANS and not misfit(run.plan, PLANS[kind], "it"):  # else a test made it up
            lines = json.loads(strict_json(list(run.records.values())))
            written = json.loads(strict_json(report))
            problems = [misfit(written, REPORTS[kind], kind), *(misfit(line, LOGS[kind], "a line") for line in lines)]
            assert not any(problems), problems
        finish(run, report)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RunDirectory, "finish", checked)
        yield


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of ``-m quick``, do not even import the other files."""
    quick = any(collection_path.is_relative_to(TESTS / name) for name in QUICK)
    wanted = config.option.markexpr == "quick" and collection_path.suffix == ".py" and not quick
    return True if wanted and collection_path.name.startswith("test_") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is quick; put those first that fork: charts keep threads, which no child has, and waits for them.

    Before them come only those that are done in other processes, after them the files that take longest.
    """
    for item in items:
        if any(item.path.is_relative_to(TESTS / name) for name in QUICK):
            item.add_marker("quick")
    places = {name: place for place, name in enumerate(FIRST + FORKING + LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_sessionfinish() -> None:
    """Remove the file of notes."""
    Path(_REACHED).unlink(missing_ok=True)
