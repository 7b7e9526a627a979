"""From what the user types to a language model: the one place that knows every kind of MODEL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from memaudit.errors import MemauditError, ModelError, one_line
from memaudit.families import find_family
from memaudit.models.base import LanguageModel
from memaudit.models.external import ExternalModel
from memaudit.plugins import import_object, search_working_directory
from memaudit.runs.inputs import AT_ONCE, Inputs, Stamp, changed, current, digest_of, held_still, stamp_of

PYTHON = "python:"


def load_model(
    spec: str, *, device: str = "cpu", dtype: str = "float32", allow_download: bool = False
) -> LanguageModel:
    """Load the language model that ``spec`` names.

    Args:
        spec: ``python:package.module:factory`` (a function without arguments that returns the model), a
            folder that memaudit or ``save_pretrained`` wrote, or the id of a cached Hugging Face model.
        device: Where transformers compute; all other families compute on the CPU.
        dtype: Type of a transformer's weights in memory.
        allow_download: Whether a Hugging Face id may be fetched.

    Raises:
        ModelError: Nothing of this name, or a model that is refused.
    """
    if spec.startswith(PYTHON):
        return _from_python(spec)
    if not spec.strip():
        raise ModelError("no model named", "give a folder, a Hugging Face id, or python:module:factory")
    folder = Path(spec).expanduser()
    if folder.is_file():
        raise ModelError(f"{spec}: a file; a model is a folder", "give the folder that holds it")
    if not folder.is_dir():
        if spec.startswith((".", "/", "~")):
            raise ModelError(f"{spec}: no such folder")
        from memaudit.models.pretrained import cached_folder

        folder = cached_folder(spec, allow_download=allow_download)
    return _from_folder(folder, device, dtype)


def given_model(
    model: object, tokenizer: Any = None, *, load: Callable[[str], LanguageModel] | None = None
) -> LanguageModel:
    """Return what a caller of Python wants audited as a model of ours.

    Args:
        model: What `load_model` takes, a model of ours, or a model of `transformers` or `peft` in memory.
        tokenizer: Of a model in memory.
        load: Loads a model from its spec; by default `load_model`.

    Raises:
        ModelError: It is none of these, or is refused.
    """
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise ModelError(f"{model}: comes with its tokenizer", "leave out tokenizer=, or give the model in memory")
        return (load or load_model)(str(model))
    if isinstance(model, LanguageModel) and tokenizer is None:
        return model
    from memaudit.models.objects import as_model

    return as_model(model, tokenizer)


def _from_folder(folder: Path, device: str, dtype: str) -> LanguageModel:
    """Read a model folder that holds still meanwhile: what is measured is what its digest names."""
    from memaudit.models.weights import IDENTITY_SUFFIXES, check_files, files_sha256, folder_files, identity_files

    inputs = Inputs()

    def digests() -> list[dict[str, Any]]:
        files = folder_files(folder)
        for file in files:
            inputs.add(folder / file["path"], file["sha256"], stamps[file["path"]])
        return files

    try:
        with held_still(folder):
            check_files(folder)
            stamps = {file.name: Stamp.of(file) for file in identity_files(folder)}
            if sum(stamp.size for stamp in stamps.values()) <= AT_ONCE:
                digests()  # before it is read too, where that takes no longer than reading it
            model = _read_folder(folder, device, dtype)
            model.files = tuple(digests())
            inputs.check_stamps()
    except (FileNotFoundError, KeyError) as error:  # of a file that is gone, of one that was not there
        raise changed(folder) from error
    inputs.add_folder(folder, IDENTITY_SUFFIXES)
    model.sha256, model.inputs = files_sha256(model.files), inputs
    current().include(inputs)
    return model


def _read_folder(folder: Path, device: str, dtype: str) -> LanguageModel:
    from memaudit.models.weights import read_json

    about = read_json(folder / "memaudit.json") if (folder / "memaudit.json").is_file() else {}
    name = about.get("family", "")
    family = find_family(name)
    if family is not None and family.on_cpu and (device, dtype) != ("cpu", "float32"):
        raise ModelError(f"{folder}: an {name} model computes on the CPU in float32", "leave out --device, --dtype")
    if about and about.get("format") != 1:
        raise ModelError(f"{folder / 'memaudit.json'}: written by another version of memaudit")
    if family is None and name != "":
        raise ModelError(f"{folder / 'memaudit.json'}: unknown family {one_line(repr(name), 60)}")
    if family is None:
        from memaudit.models.pretrained import load_trained as load
    else:
        load = family.part("load")
    model: LanguageModel = load(folder, about, device, dtype)
    return model


def _from_python(spec: str) -> LanguageModel:
    """Call the factory; its model's identity defaults to that of its source file."""
    path = spec.removeprefix(PYTHON)
    inputs, source = Inputs(), _source_of(path)
    stamp, digest = source and stamp_of(source), source and digest_of(source)
    factory = import_object(path)
    if not callable(factory):
        raise ModelError(f"{spec}: not callable", "name a function that returns the model")
    try:
        model: Any = factory()
    except MemauditError:
        raise
    except (Exception, SystemExit) as error:
        reason = one_line(f"{type(error).__name__}: {error}", 150)
        raise ModelError(f"{spec}: the factory failed: {reason}") from error
    if source and stamp and digest:
        inputs.add(source, digest, stamp)
        inputs.check_stamps()
    stranger = ExternalModel(spec, model, hashlib.sha256(f"{path}\0{digest or ''}".encode()).hexdigest())
    stranger.inputs = inputs
    current().include(inputs)
    return stranger


def _source_of(path: str) -> str | None:
    """Return the file of the module that a factory stands in, looked up as it will be imported."""
    search_working_directory()
    try:
        module = util.find_spec(path.partition(":")[0])
    except (ImportError, ValueError):  # told when it is imported
        return None
    return module.origin if module and module.has_location else None
