"""Every dialect stands in the table, and the table tells them apart."""

from __future__ import annotations

import memaudit.models.remote.dialects as package
from memaudit.models.remote.dialects.table import CHAT, COMPLETIONS, dialect_named, dialects_of
from memaudit.records import Capability


def test_dialects_are_found_by_name_in_the_order_of_what_they_give() -> None:
    assert [kind.name for kind in dialects_of("completions")] == list(COMPLETIONS)
    assert [kind.name for kind in dialects_of("chat")] == list(CHAT)
    assert [name for name in COMPLETIONS if not dialect_named(name).takes_ids] == [COMPLETIONS[-1]]
    labels = [kind.label for api in ("completions", "chat") for kind in dialects_of(api)]
    assert len(set(labels)) == len(labels)
    assert Capability.LOG_PROBS.value
    assert package.__doc__
