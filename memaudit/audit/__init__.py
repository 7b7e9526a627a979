"""One module per question; the package itself is callable, ``memaudit.audit(model, train, heldout)``.

Importing any module in here binds the name ``memaudit.audit`` to this package, so the public function
of that name can only be kept working, whatever was imported first, by making the package callable.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memaudit.audit.result import Audit


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Audit:
        """Audit a model; see `memaudit.audit.extraction.audit` for the arguments."""
        from memaudit.audit.extraction import audit

        return audit(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
