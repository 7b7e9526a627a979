"""Counterfactual memorization: what a model knows of a document only where it was trained on it."""

from memaudit.report.kinds.base import Kind
from memaudit.runs.reports import CounterfactualReport

KIND: Kind[CounterfactualReport] = Kind("counterfactual", "What does a model know only if it saw it?")
