"""``ID@REVISION`` from a cache that is built here as the client of the hub builds it: blobs, refs, snapshots."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import memaudit
from memaudit.errors import ModelError
from memaudit.models.loading.adapters import base_folder
from memaudit.models.loading.hub import cached_folder, hub_commit
from memaudit.models.loading.load import load_model
from memaudit.models.loading.origin import origin_of
from memaudit.models.transformer import new_gpt
from tests.faults.memorised import passages, save_plain, tokenizer

EARLY, LATE, TWIN = "1f" * 20, "2e" * 20, "1f1f1f1" + "0" * 33
ID = "org/tiny"


def snapshot(cache: Path, name: str, commit: str, folder: Path) -> Path:
    """Put a folder into a cache: blobs called by their digests, and links to them."""
    kept = cache / f"models--{name.replace('/', '--')}"
    there = kept / "snapshots" / commit
    there.mkdir(parents=True)
    (kept / "blobs").mkdir(exist_ok=True)
    for file in folder.iterdir():
        blob = kept / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copyfile(file, blob)
        (there / file.name).symlink_to(os.path.relpath(blob, there))
    return there


def ref(cache: Path, name: str, revision: str, commit: str) -> None:
    file = cache / f"models--{name.replace('/', '--')}" / "refs" / revision
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(commit)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    save_plain(new_gpt(tokenizer(), width=32, layers=2, heads=2, context_length=64), folder)
    return folder


@pytest.fixture(scope="module")
def whole(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of two commits of one model: ``main`` and ``step2000`` are the later one."""
    cache, later = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("later")
    snapshot(cache, ID, EARLY, plain)
    shutil.copytree(plain, later, dirs_exist_ok=True)
    weights = load_file(later / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, later / "model.safetensors", {"format": "pt"})
    snapshot(cache, ID, LATE, later)
    for revision, commit in (("main", LATE), ("step1000", EARLY), ("step2000", LATE), ("refs/pr/1", EARLY)):
        ref(cache, ID, revision, commit)
    return cache


@pytest.fixture
def hub(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is where the client of the hub looks."""
    shutil.copytree(whole, tmp_path / "hub", symlinks=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Path) -> None:
    for revision, commit in (
        ("", LATE), ("@main", LATE), ("@step1000", EARLY), ("@step2000", LATE), ("@refs/pr/1", EARLY),
        (f"@{EARLY}", EARLY), (f"@{EARLY[:7]}", EARLY), (f"@{LATE[:12]}", LATE),
    ):  # fmt: skip
        assert cached_folder(ID + revision).name == commit
    ref(hub, ID, EARLY[:7], LATE)
    assert cached_folder(f"{ID}@{EARLY[:7]}").name == LATE, "a branch of that name goes before an abbreviation"


def test_the_commit_stands_in_plan_report_and_page(hub: Path, tmp_path: Path) -> None:
    sides = [[{"text": text} for text in passages()[start : start + 4]] for start in (0, 20)]
    asked = {"prefix": 8, "suffix": 8, "fuzzy": False, "copies": False, "unprompted": False}
    reports = [
        memaudit.audit(f"{ID}@{rev}", *sides, out=tmp_path / rev, formats=formats, **asked).report
        for rev, formats in (("step1000", ()), ("main", ("html",)))
    ]
    assert [report["model"]["commits"] for report in reports] == [[{"id": ID, "commit": c}] for c in (EARLY, LATE)]
    plan = json.loads((tmp_path / "main" / "plan.json").read_bytes())
    assert plan["model"]["commits"][0]["commit"] == LATE
    page = (tmp_path / "main" / "report.html").read_text()
    assert f"commit of {ID}" in page
    assert f"Read from the Hugging Face cache: {ID} at commit {LATE}" in page
    ref(hub, ID, "main", EARLY)
    with pytest.raises(memaudit.MemauditError, match=r"run belongs to another plan: .*model"):
        memaudit.audit(f"{ID}@main", *sides, out=tmp_path / "main", **asked)


def test_a_folder_of_that_name_goes_before_the_hub(
    hub: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(plain, tmp_path / "org" / "tiny@step1000")
    model = load_model(f"{ID}@step1000")
    assert model.commits == ()
    assert origin_of(hub / "models--org--tiny" / "snapshots" / EARLY)[0] == ((ID, EARLY),)
    with pytest.raises(ModelError, match=r"\./a@b: no such folder"):
        load_model("./a@b")


@pytest.mark.parametrize(
    "revision",
    ["", "..", "../../blobs", "/etc", "a/../b", "a\nb", "a b", "main\n", "-x", ".hidden", "a//b", "a/", "x" * 300,
     "a\0b", "${HOME}", "a\\b", "@main", "a/.b"],
)  # fmt: skip
def test_a_hostile_revision_is_refused_in_one_line(hub: Path, revision: str) -> None:
    for download in (False, True):
        with pytest.raises(ModelError, match="is no revision") as caught:
            cached_folder(f"{ID}@{revision}", allow_download=download)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_a_revision_that_the_cache_lacks_is_told_with_those_it_has(hub: Path) -> None:
    with pytest.raises(ModelError) as caught:
        cached_folder(f"{ID}@step3000")
    said = (
        "has no revision step3000 of it; it has main, refs/pr/1, step1000, step2000 (name one of these as ID@REVISION"
    )
    assert said in str(caught.value)
    shutil.rmtree(hub / "models--org--tiny" / "refs")
    with pytest.raises(ModelError, match=f"has no revision main of it; it has {EARLY[:12]}, {LATE[:12]} "):
        cached_folder(ID)
    assert cached_folder(f"{ID}@{LATE[:9]}").name == LATE
    ref(hub, ID, "main", "3d" * 20)
    with pytest.raises(
        ModelError, match="main is commit 3d3d3d3d3d3d, of which the Hugging Face cache has no snapshot"
    ):
        cached_folder(ID)
    (hub / "models--org--tiny" / "snapshots" / TWIN).mkdir()
    with pytest.raises(ModelError, match=f"2 commits begin so: {TWIN}, {EARLY}"):
        cached_folder(f"{ID}@{EARLY[:7]}")
    with pytest.raises(ModelError, match="no model of this name in the Hugging Face cache"):
        cached_folder("org/other@main")


def test_a_snapshot_that_was_downloaded_in_part_names_what_it_lacks(hub: Path) -> None:
    there = hub / "models--org--tiny" / "snapshots" / EARLY
    (there / "model.safetensors").resolve().unlink()
    with pytest.raises(ModelError, match=r"lacks model\.safetensors \(it may have been downloaded in part"):
        cached_folder(f"{ID}@step1000")
    (there / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (there / "model.safetensors.index.json").write_text(json.dumps(index))
    (there / "model-00001-of-00002.safetensors").touch()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors "):
        cached_folder(f"{ID}@step1000")
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        (there / name).unlink()
    (there / "pytorch_model.bin").symlink_to("../../blobs/none")
    with pytest.raises(ModelError, match=r"lacks pytorch_model\.bin "):
        cached_folder(f"{ID}@step1000")
    for file in there.iterdir():
        file.unlink()
    with pytest.raises(ModelError, match=r"lacks config\.json, its weights "):
        cached_folder(f"{ID}@step1000")


def test_an_adapter_names_its_base_with_a_revision(hub: Path, tmp_path: Path) -> None:
    settings = tmp_path / "adapter_config.json"
    for named, revision, commit in (
        (ID, "step1000", EARLY), (ID, None, LATE), (f"{ID}@step1000", None, EARLY), (f"{ID}@step1000", "main", EARLY),
    ):  # fmt: skip
        settings.write_text(json.dumps({"base_model_name_or_path": named, "revision": revision}))
        found = hub_commit(base_folder(tmp_path))
        assert found is not None
        assert (found.id, found.commit) == (ID, commit)
    settings.write_text(json.dumps({"base_model_name_or_path": ID, "revision": "../x"}))
    with pytest.raises(ModelError, match=r"which its adapter_config\.json names as base model.*is no revision"):
        base_folder(tmp_path)
    settings.write_text(json.dumps({"base_model_name_or_path": ID, "revision": 7}))
    with pytest.raises(ModelError, match="revision is 7"):
        base_folder(tmp_path)
    assert base_folder(tmp_path, f"{ID}@{EARLY[:8]}").name == EARLY


def test_what_is_downloaded_is_of_the_revision(monkeypatch: pytest.MonkeyPatch, plain: Path, tmp_path: Path) -> None:
    asked = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, "pytorch_model*.bin" in allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    shutil.copy(plain / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    cached_folder(f"{ID}@step1000", allow_download=True, pickles=True)
    shutil.copy(plain / "model.safetensors", tmp_path)
    cached_folder(ID, allow_download=True, pickles=True)
    assert asked == [(ID, "step1000", False), (ID, "step1000", True), (ID, None, False)]
