"""What a run was made with: versions of memaudit and of every library that touches a number."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "numba",
    "rapidfuzz",
    "pyarrow",
    "orjson",
)


def version() -> str:
    """Return the version of memaudit."""
    return metadata.version("lm-memaudit")


def versions() -> dict[str, str]:
    """Return the versions of memaudit, Python and the libraries that are installed, without importing any of them."""
    found = {"memaudit": version(), "python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):  # searching a corpus needs no torch
            found[name] = metadata.version(name)
    return found
