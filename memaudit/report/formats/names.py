"""The names of the formats, for help texts too: nothing is imported that would take time.

Other packages declare theirs as entry points of the group ``memaudit.format``.
"""

from __future__ import annotations

from memaudit.plugins import Registry

FORMATS = Registry(
    "memaudit.format",
    {
        "html": "memaudit.report.formats.html:HTML",
        "json": "memaudit.report.formats.json:JSON",
        "junit": "memaudit.report.formats.junit:JUNIT",
        "sarif": "memaudit.report.formats.sarif:SARIF",
        "md": "memaudit.report.formats.md:MD",
    },
)
OF_VERDICTS = tuple(FORMATS.builtin)
"""Formats of a run that comes to a verdict, as help texts list them."""
OF_ANY_RUN = ("html", "json")
"""Those of them that every kind of run has."""
