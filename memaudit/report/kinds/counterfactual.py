"""Counterfactual memorization: what a model knows of a document only where it was trained on it."""

from memaudit.report.kinds.base import Kind

KIND = Kind("counterfactual", "What does a model know only if it saw it?")
