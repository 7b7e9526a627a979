"""Names resolve lazily to objects; what cannot be imported is one sentence."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint

import pytest

from memaudit import plugins
from memaudit.errors import InputError
from memaudit.plugins import Registry, import_object


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_import_object():
    assert import_object("json:dumps") is json.dumps
    assert import_object("json.decoder:JSONDecoder.decode") is json.JSONDecoder.decode


def test_modules_of_the_working_directory_come_last(folder):
    (folder / "my_own_model.py").write_text("def load():\n    return 7\n")
    (folder / "colorsys.py").write_text("raise RuntimeError('the file here must not win')\n")
    assert import_object("my_own_model:load")() == 7
    assert import_object("colorsys:rgb_to_hsv")(0, 0, 0) == (0, 0, 0)
    del sys.modules["my_own_model"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no_such_module:x", "importing 'no_such_module' failed (ModuleNotFoundError: No module named"),
        ("json:dumpz", "module 'json' has no 'dumpz' (Did you mean 'dump'?)"),
        ("json:decoder.nothing", "module 'json' has no 'decoder.nothing'"),
        ("broken_module:x", "importing 'broken_module' failed (ZeroDivisionError: division by zero)"),
        ("json", "'json' does not name an object"),
        (":x", "':x' does not name an object"),
        ("", "'' does not name an object"),
        (".relative:x", "importing '.relative' failed"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(folder, target, problem):
    (folder / "broken_module.py").write_text("1 / 0\n")
    with pytest.raises(InputError) as caught:
        import_object(target)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_registry_imports_nothing_before_it_is_asked():
    registry = Registry("memaudit.things", {"dumps": "json:dumps", "late": "module_that_is_not_there:x"})
    assert registry.resolve("dumps") is json.dumps
    with pytest.raises(InputError, match="module_that_is_not_there"):
        registry.resolve("late")
    with pytest.raises(InputError, match=r"unknown things 'dump' \(Did you mean 'dumps'\?\)"):
        registry.resolve("dump")
    with pytest.raises(InputError, match=r"unknown things 'zzzz' \(there are: dumps, late\)"):
        registry.resolve("zzzz")


def test_entry_points_add_names_and_ours_win(monkeypatch):
    declared = [EntryPoint("loads", "json:loads", "g"), EntryPoint("dumps", "pickle:dumps", "g")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: declared if group == "g" else [])
    registry = Registry("g", {"dumps": "json:dumps"})
    assert list(registry.targets()) == ["dumps", "loads"]
    assert registry.resolve("dumps") is json.dumps
    assert registry.resolve("loads") is json.loads
