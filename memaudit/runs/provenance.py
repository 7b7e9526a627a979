"""What a run was made with: versions of memaudit and of every library that touches a number."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

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


SOURCES = (".py", ".j2", ".css")


def version() -> str:
    """Return the version of memaudit."""
    return metadata.version("lm-memaudit")


@cache
def code() -> str:
    """Return the start of the SHA-256 of memaudit's own sources, which tells releases, commits and edits apart."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(path for kind in SOURCES for path in package.rglob(f"*{kind}")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


@cache
def packages() -> tuple[str, ...]:
    """Return every distribution that is installed, as ``name==version``; reading them all takes a quarter second."""
    return tuple(sorted({f"{found.name}=={found.version}" for found in metadata.distributions()}))


def machine() -> dict[str, Any]:
    """Return on what a session ran; nothing of this changes a result, so that no report holds it."""
    torch = sys.modules.get("torch")
    return {
        "code": code(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "packages": len(packages()),
        "packages_sha256": hashlib.sha256("\n".join(packages()).encode()).hexdigest(),
    }


def versions() -> dict[str, str]:
    """Return the versions of memaudit, Python and the libraries that are installed, without importing any of them."""
    found = {"memaudit": version(), "code": code(), "python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):  # searching a corpus needs no torch
            found[name] = metadata.version(name)
    return found
