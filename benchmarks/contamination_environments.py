"""The interpreter that runs each tool of others: named by a variable, found, or made with pip in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PEERS: dict[str, list[str] | None] = {
    "python-set": None,
    "in-loop": None,
    "ahocorasick": ["ahocorasick_rs"],
    "janitor": ["--no-deps", "lm-eval"],
    "datatrove": ["datatrove", "spacy", "nltk", "regex", "xxhash<4", "ftfy", "tldextract", "fasteners", "tokenizers"],
    "decon": ["decontaminate"],
    "corpus-assay": ["corpus-assay"],
}
"""What pip is asked for; None: plain Python, run by this interpreter. ``decon`` on the index is another tool."""
NEWER = {"decon", "corpus-assay"}
"""Peers that need a newer Python than this project does."""
LEAST = (3, 12)
PYTHON = "MEMAUDIT_PEER_PYTHON"
_MINORS = (12, 13, 14)
"""Those that all peers of ``NEWER`` have wheels for."""
_CHECK = f"import sys; sys.exit(sys.version_info < {LEAST})"


class UnavailableError(Exception):
    """A peer cannot be run here; says why in one line."""


def interpreter(name: str, folder: Path | None) -> str:
    """Return the interpreter that has a peer; made if there is a folder to make it in."""
    packages = PEERS[name]
    if packages is None:
        return sys.executable
    given = os.environ.get(f"MEMAUDIT_PEER_{name.upper().replace('-', '_')}")
    if given:
        return given
    if folder is None:
        raise UnavailableError("no environment (--peers DIR makes one)")
    home = folder.resolve() / name
    python = home / "bin" / "python"
    if not python.exists():
        _make(home, _newer_python() if name in NEWER else sys.executable, packages)
    return str(python)


def _make(home: Path, base: str, packages: list[str]) -> None:
    python = str(home / "bin" / "python")
    for command in ([base, "-m", "venv", str(home)], [python, "-m", "pip", "install", "--quiet", *packages]):
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            # Half an environment would pass for a whole one in the next run.
            shutil.rmtree(home, ignore_errors=True)
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UnavailableError(f"{command[2]} failed: {said[-1]}")


def _newer_python() -> str:
    given = os.environ.get(PYTHON)
    for candidate in [given] if given else _candidates():
        if _runs(candidate):
            return candidate
    needed = ".".join(map(str, LEAST))
    found = f"{given} is none" if given else f"none was found (name one in {PYTHON})"
    raise UnavailableError(f"needs a Python of {needed} or newer, and {found}")


def _candidates() -> Iterator[str]:
    yield sys.executable
    for minor in _MINORS:
        yield f"python3.{minor}"
    # pyenv's python3.12 is on the path even where no version is chosen, and then fails.
    for root in _answer("pyenv", "root"):
        for minor in _MINORS:
            yield from sorted(map(str, Path(root).glob(f"versions/3.{minor}.*/bin/python")))
    yield from _answer("uv", "python", "find", "--no-python-downloads", ">=" + ".".join(map(str, LEAST)))


def _runs(python: str) -> bool:
    """Say whether an interpreter starts and is new enough."""
    try:
        return subprocess.run([python, "-c", _CHECK], capture_output=True).returncode == 0
    except OSError:
        return False


def _answer(*command: str) -> list[str]:
    """Return the lines that a program prints; none if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return []
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []
