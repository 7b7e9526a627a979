"""The formats a finished run can be written in, by name; other packages declare theirs as entry points.

What a run looks like depends on its kind: each format, and the terminal, names the renderer of every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memaudit.errors import InputError, RunError, one_line
from memaudit.plugins import Registry, import_object
from memaudit.records import SHOWN, Shown
from memaudit.report.disclosure import disclosed
from memaudit.runs.directory import REPORT, read_finished
from memaudit.runs.files import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = Registry(
    "memaudit.format",
    {
        "html": "memaudit.report.formats:HTML",
        "json": "memaudit.report.formats:JSON",
        "junit": "memaudit.report.formats:JUNIT",
        "sarif": "memaudit.report.formats:SARIF",
        "md": "memaudit.report.formats:MARKDOWN",
    },
)

LONGEST = 1000
"""Characters of a line that is told."""
Writer = Callable[[Path], Path]
"""Folder of a finished run -> the file that was written in it."""


@dataclass(frozen=True, slots=True)
class Format:
    """A writer of one file of a run directory."""

    file: str
    renderers: Mapping[str, str]
    """Kind of run -> ``module:function`` that takes a ``ReportInput`` and returns the bytes of the file."""
    excerpts: bool = True
    """Whether texts stand in it for people to read, so that addresses, telephone numbers and keys are masked."""

    def __call__(self, folder: Path, shown: Shown = SHOWN) -> Path:
        """Write the file of a finished run, atomically, and return its path.

        Args:
            folder: The run directory.
            shown: What may be shown of the run's texts.

        Raises:
            RunError: If the run never came to a report, or is of a kind that is not known.
        """
        run = disclosed(read_finished(folder), shown if self.excerpts else Shown(shown.text, personal=True))
        path = folder / self.file
        write_atomic(path, _of_kind(self.renderers, run.report)(run))
        return path


HTML = Format(
    "report.html",
    {
        "extraction": "memaudit.report.html:render_run",
        "contamination": "memaudit.report.contamination_page:render_run",
        "laws": "memaudit.report.sections_page:render_run",
        "counterfactual": "memaudit.report.sections_page:render_run",
        "exploitation": "memaudit.report.sections_page:render_run",
        "gap": "memaudit.report.sections_page:render_run",
        "membership": "memaudit.report.sections_page:render_run",
    },
)
JSON = Format(REPORT, dict.fromkeys(HTML.renderers, "memaudit.report.machine:report_json"), excerpts=False)
JUNIT = Format(
    "junit.xml",
    {
        "extraction": "memaudit.report.machine:extraction_junit",
        "contamination": "memaudit.report.machine:contamination_junit",
        "membership": "memaudit.report.machine:membership_junit",
        "gap": "memaudit.report.machine:judged_junit",
        "exploitation": "memaudit.report.machine:judged_junit",
    },
)
MARKDOWN = Format("report.md", dict.fromkeys(JUNIT.renderers, "memaudit.report.markdown:comment"))
SARIF = Format("results.sarif", dict.fromkeys(JUNIT.renderers, "memaudit.report.sarif:sarif"))
PRINTERS = {
    "extraction": "memaudit.report.terminal:print_verdict",
    "contamination": "memaudit.report.contamination_terminal:print_contamination",
    "laws": "memaudit.report.sections_terminal:print_sections",
    "counterfactual": "memaudit.report.sections_terminal:print_sections",
    "exploitation": "memaudit.report.sections_terminal:print_sections",
    "gap": "memaudit.report.sections_terminal:print_sections",
    "membership": "memaudit.report.sections_terminal:print_membership",
}
"""Kind of run -> ``module:function`` that prints its report on one screen."""


def writers(names: Sequence[str], kind: str | None = None, shown: Shown = SHOWN) -> list[Writer]:
    """Return the writers of the named formats.

    Args:
        names: The formats.
        kind: Of the run that is to be written, where it is known already.
        shown: What may be shown of the run's texts.

    Raises:
        InputError: If there is no such format, none for this kind of run, or one that cannot leave texts out.
    """
    found = {name: FORMATS.resolve(name) for name in names}
    for name, format_ in found.items():
        if kind is not None and isinstance(format_, Format) and kind not in format_.renderers:
            raise InputError(f"format '{name}': not for a run of kind '{kind}'", "html and json are")
        if not shown.text and not isinstance(format_, Format):
            raise InputError(f"format '{name}': it cannot leave texts out", "it comes from another package")
    return [partial(f, shown=shown) if isinstance(f, Format) else f for f in found.values()]


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print the report of a run of any kind, the verdict first, and last which options nobody typed."""
    _of_kind(PRINTERS, report)(report, console)
    for told in report["provenance"].get("set_elsewhere", ()):
        console.print(one_line(told, LONGEST), soft_wrap=True)


def _of_kind(renderers: Mapping[str, str], report: Mapping[str, Any]) -> Any:
    kind = report["kind"]
    if kind not in renderers:
        raise RunError(f"a run of kind '{kind}' cannot be shown", "it was written by another version of memaudit")
    return import_object(renderers[kind])
