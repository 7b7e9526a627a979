"""Laws: how memorization grows with the model, the copies and the context."""

from memaudit.report.kinds.base import Kind
from memaudit.runs.reports import LawsReport

KIND: Kind[LawsReport] = Kind("laws", "How does memorization grow?")
