"""What of a run's texts leaves it: everything, excerpts with addresses masked, or hashes and lengths alone.

Renderers get a report that holds no more than may be shown. What that is, the kind of the run decides.
"""

from __future__ import annotations

from memaudit.records import Shown
from memaudit.report.kinds import kind_of
from memaudit.runs.directory import Report, ReportInput


def disclosed(run: ReportInput[Report], shown: Shown) -> ReportInput[Report]:
    """Return a run of which only what may be shown can be rendered.

    Raises:
        RunError: If the run is of a kind that is not known.
    """
    return kind_of(run.report).disclosed(run, shown)
