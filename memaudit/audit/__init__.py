"""One package per question, each with its way from input to verdict in ``run.py``; `measures` are shared by several.

The package itself is callable, ``memaudit.audit(model, train, heldout)``.

Importing any module in here binds the name ``memaudit.audit`` to this package, so the public function
of that name can only be kept working, whatever was imported first, by making the package callable.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memaudit.audit.extraction.result import Audit


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Audit:
        """Audit a model; see `memaudit.audit.extraction.run.audit` for the arguments."""
        from memaudit.audit.extraction.run import audit

        return audit(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
