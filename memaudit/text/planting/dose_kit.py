"""The dose kit as files: what to train on, what to ask, what never to train on, and how it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.runs.files import strict_json, write_atomic
from memaudit.runs.provenance import versions
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.objects import TextSource, listed
from memaudit.text.corpus.read import Corpus, Split, read_corpus
from memaudit.text.planting.canaries import CANARY
from memaudit.text.planting.planting import DoseKit, PlantOptions, about_planted, plant_doses

FORMAT = 1
MANIFEST = "manifest.json"
NAMES = ("training", "planted", "twins")


@dataclass(frozen=True, slots=True)
class PlantedCorpus:
    """A dose kit and where it lies."""

    folder: Path
    kit: DoseKit
    manifest: dict[str, Any]


def plant_corpus(
    background: TextSource,
    out: str | Path,
    *,
    passages: TextSource = (),
    options: PlantOptions | None = None,
    text_field: TextField = "text",
    split: Split = "auto",
    max_expand: int | None = None,
) -> PlantedCorpus:
    """Plant a corpus and write training.jsonl, planted.jsonl, twins.jsonl and manifest.json.

    The corpus is held in memory. The manifest is written first and decides whose folder it is: the same command
    again writes the same bytes, another one is refused.

    Args:
        background: Specs of the training corpus.
        out: Folder to write to.
        passages: Specs of text to cut passages from; by default a part of the background, which is held back.
        options: What is planted.
        text_field: As `memaudit.text.corpus.read.read_corpus` takes it, like the two after it.
        split: The same.
        max_expand: The same.

    Raises:
        InputError: Text that cannot be used or is too little, or a folder that holds something else.
        RunError: A file cannot be written.
    """
    chosen, folder = options or PlantOptions(), Path(out)
    corpora = {
        name: read_corpus(specs, text_field=text_field, split=split, max_expand=max_expand)
        for name, given in (("background", background), ("passages", passages))
        if (specs := listed(given, name))
    }
    if "background" not in corpora:
        raise InputError("no background", "name the corpus to plant in")
    for corpus in corpora.values():
        corpus.check()
    documents = {name: list(corpus) for name, corpus in corpora.items()}
    kit = plant_doses(documents["background"], chosen, documents.get("passages"))
    contents = {f"{name}.jsonl": _lines(name, getattr(kit, name)) for name in NAMES}
    manifest = _manifest(chosen, corpora, kit, contents)
    _claim(folder, manifest)
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return PlantedCorpus(folder, kit, manifest)


def _manifest(
    options: PlantOptions, corpora: Mapping[str, Corpus], kit: DoseKit, contents: Mapping[str, bytes]
) -> dict[str, Any]:
    body = {
        "format": FORMAT,
        "kind": "planting",
        "options": dataclasses.asdict(options),
        "inputs": {name: corpus.summary() for name, corpus in corpora.items()},
        "held_back_documents": kit.held_back,
        "passages_left_out_as_not_unique": kit.not_unique,
        "copied_words": kit.copied_words,
        "canary": {
            "format": CANARY,
            "words": options.keys,
            "digits": options.digits,
            "space": 10**options.digits,
        }
        if options.canaries
        else None,
        "vocabulary": kit.vocabulary,
        "assignment": {document.id: _assignment(document, kit) for document in [*kit.planted, *kit.twins]},
        "outputs": {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()},
        "versions": versions(),
    }
    manifest: dict[str, Any] = json.loads(strict_json(body))
    return manifest


def _assignment(document: Document, kit: DoseKit) -> dict[str, Any]:
    kind, variant = about_planted(document.id) or ("", "")
    digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "kind": kind,
        "variant": variant,
        "copies": document.copies,
        "domain": document.domain,
        "origin": kit.origins[document.id],
        "text_sha256": digest,
    }


def _lines(name: str, documents: Sequence[Document]) -> bytes:
    return "".join(json.dumps(_row(name, place, d)) + "\n" for place, d in enumerate(documents)).encode("ascii")


def _row(name: str, place: int, document: Document) -> dict[str, Any]:
    row: dict[str, Any] = {"id": document.id, "domain": document.domain, "text": document.text}
    if name == "training":  # copies are told apart by their place, as in any corpus with duplicates
        row["id"] = f"{place}:{document.id}"
        return row | ({"date": document.date} if document.date and about_planted(document.id) is None else {})
    kind, variant = about_planted(document.id) or ("", "")
    return row | {"copies": document.copies, "kind": kind, "variant": variant}


def _claim(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, unless the folder holds anything of another planting."""
    path = folder / MANIFEST
    if path.exists():
        _refuse_other(path, manifest)
    else:
        there = [name for name in (f"{name}.jsonl" for name in NAMES) if (folder / name).exists()]
        if there:
            raise InputError(f"{folder / there[0]}: is there already, and no {MANIFEST}", "choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}", "choose another --out") from error
    write_atomic(path, strict_json(manifest))


def _refuse_other(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise InputError if a manifest is not this one, and say where they differ."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not the manifest of a planting", "choose another --out") from error
    if not isinstance(found, dict) or found.get("kind") != "planting":
        raise InputError(f"{path}: not the manifest of a planting", "choose another --out")
    if found == manifest:
        return
    old, new = found.get("options"), manifest["options"]
    if isinstance(old, dict) and old != new:
        name = next(name for name in new if old.get(name) != new[name])
        what = f"{name} {old.get(name)}, not {new[name]}"
    else:
        what = next((name for name in manifest if name != "outputs" and found.get(name) != manifest[name]), "outputs")
        what = f"other {what}"
    raise InputError(f"{path.parent}: holds another planting ({what})", "choose another --out, or delete it")
