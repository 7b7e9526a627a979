"""From what the user types to a language model: the one place that knows every kind of MODEL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, TypeVar

from memaudit.errors import InputError, MemauditError, ModelError, one_line
from memaudit.families import find_family
from memaudit.models.base import LanguageModel
from memaudit.models.external import ExternalModel
from memaudit.models.remote.address import Endpoint, address_of, is_address, refuse_unused
from memaudit.plugins import import_object, search_working_directory
from memaudit.runs.inputs import AT_ONCE, Inputs, Stamp, changed, current, digest_of, held_still, stamp_of

PYTHON = "python:"
Read = TypeVar("Read")


def load_model(
    spec: str,
    *,
    base: str = "",
    device: str = "cpu",
    dtype: str = "float32",
    allow_download: bool = False,
    allow_pickle: bool = False,
    base_control: bool = False,
    endpoint: Endpoint | None = None,
) -> LanguageModel:
    """Load the language model that ``spec`` names.

    Args:
        spec: ``python:package.module:factory`` (a function without arguments that returns the model), a
            folder that memaudit or ``save_pretrained`` wrote, that of an adapter, a GGUF file or a folder that
            holds one, the id of a cached Hugging Face model, ``ID`` or ``ID@REVISION`` (a branch, a tag, a commit), or
            the address of a server, ``http(s)://HOST[:PORT]/v1``.
        base: The base model of an adapter; by default the one that the adapter names.
        device: Where transformers compute; all other families compute on the CPU. ``auto`` for what devices there
            are, and the disk where memory lacks.
        dtype: Type of a transformer's weights in memory; ``auto`` for that of its files.
        allow_download: Whether a Hugging Face id may be fetched.
        allow_pickle: Whether ``pytorch_model.bin`` is read where there are no safetensors: tensors from their places in
            it, and nothing is unpickled.
        base_control: Whether the base model of an adapter is kept beside it (``.base``).
        endpoint: How a model behind an address is reached.

    Raises:
        ModelError: Nothing of this name, or a model that is refused.
        InputError: ``endpoint`` is given, and the model is no address.
    """
    if is_address(spec):
        _refuse_loading(spec, base, device, dtype)
        return _from_address(address_of(spec), endpoint or Endpoint(), allow_download=allow_download)
    refuse_unused(endpoint, [spec])
    if spec.startswith(PYTHON):
        _refuse_base(spec, base)
        return _from_python(spec)
    if not spec.strip():
        raise ModelError("no model named", "give a folder, a Hugging Face id, or python:module:factory")
    folder = Path(spec).expanduser()
    if folder.is_file():
        _refuse_base(spec, base)
        return _from_file(folder, device, dtype)
    if not folder.is_dir():
        if spec.startswith((".", "/", "~")):
            raise ModelError(f"{spec}: no such {'file' if folder.suffix == '.gguf' else 'folder'}")
        if folder.suffix == ".gguf":
            raise ModelError(f"{spec}: no such file", "GGUF files are not downloaded: give the path of one")
        from memaudit.models.loading.hub import cached_folder

        folder = cached_folder(spec, allow_download=allow_download, pickles=allow_pickle)
    from memaudit.models.loading.checkpoints import refuse_run
    from memaudit.models.loading.gguf_file import gguf_of
    from memaudit.models.loading.pickled import allowing_pickles

    with allowing_pickles(allow_pickle):
        if (folder / "adapter_config.json").is_file():
            from memaudit.models.loading.adapters import base_folder

            whole = base_folder(folder, base, allow_download=allow_download)
            return _from_adapter(folder, whole, device, dtype, control=base_control)
        _refuse_base(spec, base)
        refuse_run(folder)
        file = gguf_of(folder)
        return _from_folder(folder, device, dtype) if file is None else _from_file(file, device, dtype)


@dataclass(frozen=True, slots=True)
class GivenModel:
    """What a caller of Python wants audited, before it is loaded."""

    model: object
    """What `load_model` takes, a model of ours, or a model of `transformers` or `peft` in memory."""
    name: str = ""
    """How reports call it; by default the spec it was given as, or its family."""
    tokenizer: Any = None
    """Of a model in memory."""
    base: str = ""
    """The base model of an adapter."""
    base_control: bool = False
    """Whether the base model of an adapter is wanted beside it."""
    load: Callable[..., LanguageModel] | None = None
    """Loads a model from its spec, and from ``base`` where one is named; None: `load_model`."""
    endpoint: Endpoint | None = None
    """How addresses are reached, where ``load`` does not know it."""

    def loaded(self) -> LanguageModel:
        """Return it as a model of ours.

        Raises:
            ModelError: It is none, or is refused.
        """
        model, named = self.model, isinstance(self.model, str | Path)
        if named and self.tokenizer is not None:
            raise ModelError(f"{model}: comes with its tokenizer", "leave out tokenizer=, or give the model in memory")
        if named and self.load is not None:
            return self.load(str(model), base=self.base) if self.base else self.load(str(model))
        if named:
            reached = self._reached(str(model))
            return load_model(str(model), base=self.base, base_control=self.base_control, **reached)
        if self.base:
            raise ModelError("a base is named for the folder of an adapter alone", "leave out base=")
        if isinstance(model, LanguageModel) and self.tokenizer is None:
            return model
        from memaudit.models.loading.objects import as_model

        return as_model(model, self.tokenizer, base_control=self.base_control)

    def load_beside(self, spec: str) -> LanguageModel:
        """Return a model that stands beside it, loaded or reached as it is."""
        return self.load(spec) if self.load is not None else load_model(spec, **self._reached(spec))

    def _reached(self, spec: str) -> dict[str, Any]:
        return {"endpoint": self.endpoint} if self.endpoint is not None and is_address(spec) else {}

    def called(self, model: LanguageModel) -> str:
        """Return how reports call it, now that it is loaded."""
        return self.name or (str(self.model) if isinstance(self.model, str | Path) else model.family)


def _refuse_base(spec: str, base: str) -> None:
    if base:
        raise ModelError(f"{spec}: a whole model, no adapter of {base}", "leave out --base")


def _from_address(url: str, endpoint: Endpoint, *, allow_download: bool) -> LanguageModel:
    """Reach a server, by the tokenizer that was named for its model."""
    from memaudit.models.loading.named_tokenizer import named_tokenizer
    from memaudit.models.remote.reach import reach

    if not endpoint.tokenizer:
        raise InputError(f"{url}: no tokenizer named", "give --tokenizer: the model's folder or Hugging Face id")
    named = named_tokenizer(endpoint.tokenizer, allow_download=allow_download)
    template, context = named.template, named.context_length
    return reach(url, endpoint, named.tokenizer, template=template, context_length=context)


def _refuse_loading(spec: str, base: str, device: str, dtype: str) -> None:
    """Refuse to say how a model is loaded that a server has loaded."""
    address = address_of(spec)
    _refuse_base(address, base)
    if device != "cpu" or dtype != "float32":
        raise ModelError(f"{address}: computes as its server was started", "leave out --device, --dtype")


def _from_folder(folder: Path, device: str, dtype: str) -> LanguageModel:
    model, files, inputs = _held(folder, lambda: _read_folder(folder, device, dtype))
    model.files = files
    model.sha256, model.inputs = _identity(files), inputs
    _tell_origin(model, folder)
    current().include(inputs)
    return model


def _from_file(file: Path, device: str, dtype: str) -> LanguageModel:
    """Read a GGUF file, and a tokenizer beside it; they are the identity of the model, under these names."""
    from memaudit.models.loading.gguf_file import files_of, is_gguf
    from memaudit.models.loading.gguf_model import load_gguf

    if not is_gguf(file):
        raise ModelError(f"{file}: a file; a model is a folder, or a GGUF file", "give the folder that holds it")
    inputs = Inputs()
    stamps = {one: Stamp.of(one) for one in files_of(file)}
    model = load_gguf(file, device=device, dtype=dtype)
    files = []
    for one, stamp in stamps.items():
        digest = digest_of(one)
        inputs.add(one, digest, stamp)
        files.append({"path": one.name, "sha256": digest, "bytes": stamp.size})
    inputs.check_stamps()
    model.files, model.sha256, model.inputs = tuple(files), _identity(files), inputs
    current().include(inputs)
    return model


def _from_adapter(folder: Path, base: Path, device: str, dtype: str, *, control: bool) -> LanguageModel:
    """Read both folders of an adapted model; the files of both are its identity."""
    from memaudit.models.loading.adapters import load_adapted, read_base

    whole, beneath, inputs = _held(base, lambda: read_base(base, device=device, dtype=dtype))
    model, above, more = _held(folder, lambda: load_adapted(folder, whole, control=control))
    inputs.include(more)
    model.files = (*above, *({**file, "path": f"base/{file['path']}"} for file in beneath))
    model.sha256, model.inputs = _identity(model.files), inputs
    _tell_origin(model, folder, base)
    if model.base is not None:
        model.base.files, model.base.sha256 = beneath, _identity(beneath)
        _tell_origin(model.base, base)
    current().include(inputs)
    return model


def _tell_origin(model: LanguageModel, folder: Path, base: Path | None = None) -> None:
    """Let a model say which commits of the hub it is, at which step of a training, and how it was read."""
    from memaudit.models.loading.origin import origin_of

    model.commits, model.step, notes = origin_of(folder, base)
    model.notes = (*model.notes, *notes)


def _identity(files: Sequence[Mapping[str, Any]]) -> str:
    from memaudit.models.loading.weights import files_sha256

    return files_sha256(files)


def _held(folder: Path, read: Callable[[], Read]) -> tuple[Read, tuple[Mapping[str, Any], ...], Inputs]:
    """Read a model folder that holds still meanwhile: what is measured is what its digests name."""
    from memaudit.models.loading.weights import IDENTITY_SUFFIXES, check_files, folder_files, identity_files

    inputs = Inputs()

    def digests() -> list[dict[str, Any]]:
        files = folder_files(folder)
        for path, file in zip(identity_files(folder), files, strict=True):
            if path not in stamps:  # which was not there before
                raise changed(folder)
            inputs.add(path, file["sha256"], stamps[path])
        return files

    try:
        with held_still(folder):
            check_files(folder)
            stamps = {file: Stamp.of(file) for file in identity_files(folder)}
            if sum(stamp.size for stamp in stamps.values()) <= AT_ONCE:
                digests()  # before it is read too, where that takes no longer than reading it
            model = read()
            files = tuple(digests())
            inputs.check_stamps()
    except FileNotFoundError as error:  # of a file that is gone
        raise changed(folder) from error
    inputs.add_folder(folder, IDENTITY_SUFFIXES)
    return model, files, inputs


def _read_folder(folder: Path, device: str, dtype: str) -> LanguageModel:
    from memaudit.models.loading.weights import read_json

    about = read_json(folder / "memaudit.json") if (folder / "memaudit.json").is_file() else {}
    name = about.get("family", "")
    family = find_family(name)
    if family is not None and family.on_cpu:
        if device not in ("cpu", "auto") or dtype not in ("float32", "auto"):
            raise ModelError(f"{folder}: an {name} model computes on the CPU in float32", "leave out --device, --dtype")
        device, dtype = "cpu", "float32"
    if about and about.get("format") != 1:
        raise ModelError(f"{folder / 'memaudit.json'}: written by another version of memaudit")
    if family is None and name != "":
        raise ModelError(f"{folder / 'memaudit.json'}: unknown family {one_line(repr(name), 60)}")
    if family is None:
        from memaudit.models.loading.folder import load_trained as load
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
