"""Detectors of membership: one file each, found by name or by entry point (`memaudit.audits.detectors.base`)."""

from __future__ import annotations

from memaudit.plugins import Registry

DETECTORS = Registry(
    "memaudit.detector",
    {
        "membership": "memaudit.audits.detectors.membership:MEMBERSHIP",
        "order": "memaudit.audits.detectors.order:ORDER",
        "overlap": "memaudit.audits.detectors.overlap:OVERLAP",
        "guided": "memaudit.audits.detectors.guided:GUIDED",
    },
)
"""Every detector by its name; other packages declare theirs as entry points. Cheap to import: help texts list them."""
