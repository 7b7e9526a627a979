"""Laws: how memorization grows with the model, the copies and the context."""

from memaudit.report.kinds.base import Kind

KIND = Kind("laws", "How does memorization grow?")
