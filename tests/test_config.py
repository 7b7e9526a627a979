"""Options come from the working directory's file, or the file is refused with the nearest name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memaudit.config import did_you_mean, load_config
from memaudit.errors import InputError

KNOWN = {"audit": ["limit", "max_rate", "fuzzy"], "train.gpt": ["out", "seed"], "train.ngram": ["order"]}


def test_no_file_means_no_options(tmp_path):
    assert load_config(tmp_path, KNOWN) == {}
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.other]\na = 1\n")
    assert load_config(tmp_path, KNOWN) == {}


@pytest.mark.parametrize(("name", "prefix"), [("memaudit.toml", ""), ("pyproject.toml", "tool.memaudit.")])
def test_options_by_command(tmp_path, name, prefix):
    (tmp_path / name).write_text(
        f"[{prefix}audit]\nlimit = 200\nmax-rate = 0.01\n"
        f"[{prefix}train.gpt]\nseed = 3\n[{prefix}train.ngram]\norder = 4\n"
    )
    assert load_config(tmp_path, KNOWN) == {
        "audit": {"limit": 200, "max_rate": 0.01},
        "train": {"gpt": {"seed": 3}, "ngram": {"order": 4}},
    }


def test_own_file_wins_over_the_project_file(tmp_path):
    (tmp_path / "memaudit.toml").write_text("[audit]\nlimit = 1\n")
    (tmp_path / "pyproject.toml").write_text("[tool.memaudit.audit]\nlimit = 2\nfuzzy = true\n")
    assert load_config(tmp_path, KNOWN) == {"audit": {"limit": 1}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[audti]\nlimit = 1\n", ": unknown command 'audti' (Did you mean 'audit'?)"),
        ("[audit]\nlimits = 1\n", ": [audit] has no option 'limits' (Did you mean 'limit'?)"),
        ("[audit]\nmaxrate = 1\n", ": [audit] has no option 'maxrate' (Did you mean 'max_rate'?)"),
        ("[audit]\nzzz = 1\n", ": [audit] has no option 'zzz'"),
        ("[audit]\nmax-rate = 1\nmax_rate = 2\n", ": [audit] sets 'max_rate' twice"),
        ("[train.gtp]\nseed = 1\n", ": unknown command 'train.gtp' (Did you mean 'gpt'?)"),
        ("[train.gpt]\nsed = 1\n", ": [train.gpt] has no option 'sed' (Did you mean 'seed'?)"),
        ("audit = 3\n", ": 'audit' is not an option but a command (write [audit])"),
        ("limit = 3\n", ": unknown command 'limit'"),
        ("[audit]\nlimit = \n", ":2: not valid TOML (Invalid value"),
        ("[audit\n", ":1: not valid TOML"),
        ("[audit]\nlimit = 1\nlimit = 2\n", ":3: not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, content, problem):
    file = tmp_path / "memaudit.toml"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        load_config(tmp_path, KNOWN)
    assert str(caught.value).startswith(f"{file}{problem}")


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "memaudit.toml").write_bytes(b"[audit]\nlimit = '\xff'\n")
    with pytest.raises(InputError, match="not UTF-8 at byte 18"):
        load_config(tmp_path, KNOWN)
    (tmp_path / "memaudit.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("tool = 1\n")
    assert load_config(tmp_path, KNOWN) == {}
    (tmp_path / "pyproject.toml").write_text("[tool]\nmemaudit = 1\n")
    with pytest.raises(InputError, match=r"tool\.memaudit is not a table"):
        load_config(tmp_path, KNOWN)


def test_nearest_name():
    assert did_you_mean("txt", ["id", "text"]) == "Did you mean 'text'?"
    assert did_you_mean("zzz", ["id", "text"]) == ""


def test_import_is_light():
    code = "import sys, memaudit.config; print(not {'numpy', 'torch', 'pandas', 'typer'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True"
