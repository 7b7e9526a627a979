"""The names of all measures, cheap to import: help texts list them."""

from __future__ import annotations

from memaudit.plugins import Registry

MEASURES = Registry(
    "memaudit.measure",
    {
        "surface": "memaudit.audits.measures.surface:SURFACE",
        "coverage": "memaudit.audits.measures.coverage:COVERAGE",
        "coverage-exact": "memaudit.audits.measures.coverage:EXACT_COVERAGE",
        "probability": "memaudit.audits.measures.probability:PROBABILITY",
        "near-verbatim": "memaudit.audits.measures.near_verbatim:NEAR_VERBATIM",
        "use": "memaudit.audits.measures.use:USE",
        "infilling": "memaudit.audits.measures.infilling:INFILLING",
        "dose": "memaudit.audits.measures.dose:DOSE",
        "cloze": "memaudit.audits.measures.cloze:CLOZE",
        "taxonomy": "memaudit.audits.measures.taxonomy:TAXONOMY",
        "protocol": "memaudit.audits.measures.protocol:PROTOCOL",
    },
)
"""Every measure by its name; other packages declare theirs as entry points."""
