"""A gap between items from before and after the end of a model's training data."""

from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Rule
from memaudit.runs.reports import GapReport

RULE = Rule(
    id="memaudit/gap",
    name="OldItemsEasier",
    title="Old items are easier than the controls explain",
    short="A model does better on old items than its controls explain.",
    full="On items from before the end of its training data a model is ahead of other models by more than "
    "on items from after it: it may have seen the old ones, or text about them.",
    help="Report results on the new items alone.",
)
KIND: VerdictKind[GapReport] = VerdictKind(
    "gap",
    "Does it ace the old test and fail the new one?",
    rules=(RULE,),
    claim="no evidence of a gap between old and new items that the controls do not have",
)
