"""From what the user types to a language model: the one place that knows every kind of MODEL."""

from __future__ import annotations

import hashlib
from importlib import util
from pathlib import Path
from typing import Any

from memaudit.errors import MemauditError, ModelError, one_line
from memaudit.models.base import LanguageModel
from memaudit.models.stranger import Stranger
from memaudit.plugins import import_object

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


def _from_folder(folder: Path, device: str, dtype: str) -> LanguageModel:
    from memaudit.models.weights import check_files, files_sha256, folder_files, read_json

    check_files(folder)
    about = read_json(folder / "memaudit.json") if (folder / "memaudit.json").is_file() else {}
    family = about.get("family", "")
    model: LanguageModel
    if family in ("ngram", "rnn") and (device, dtype) != ("cpu", "float32"):
        raise ModelError(f"{folder}: an {family} model computes on the CPU in float32", "leave out --device, --dtype")
    if about and about.get("format") != 1:
        raise ModelError(f"{folder / 'memaudit.json'}: written by another version of memaudit")
    if family == "ngram":
        model = _ngram(about).load(folder)
    elif family == "rnn":
        from memaudit.models.rnn import RnnModel

        model = RnnModel.load(folder)
    elif family in ("", "gpt", "bert"):
        from memaudit.models.pretrained import load_pretrained

        model = load_pretrained(folder, device=device, dtype=dtype, family=family)
        model.training = about.get("training", {})
    else:
        raise ModelError(f"{folder / 'memaudit.json'}: unknown family {one_line(repr(family), 60)}")
    model.files = tuple(folder_files(folder))
    model.sha256 = files_sha256(model.files)
    return model


def _ngram(about: dict[str, Any]) -> type[LanguageModel]:
    config = about.get("config")
    if isinstance(config, dict) and config.get("order") == "infinity":
        from memaudit.models.infinity import InfinityModel

        return InfinityModel
    from memaudit.models.ngram import NgramModel

    return NgramModel


def _from_python(spec: str) -> LanguageModel:
    """Call the factory; its model's identity defaults to that of its source file."""
    path = spec.removeprefix(PYTHON)
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
    module = util.find_spec(path.split(":")[0])
    source = Path(module.origin).read_bytes() if module and module.origin else b""
    return Stranger(spec, model, hashlib.sha256(path.encode() + b"\0" + source).hexdigest())
