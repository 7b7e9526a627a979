"""Hugging Face ids: the folder of the local cache that an id names, or the id of a folder there."""

from __future__ import annotations

import os
from pathlib import Path

from memaudit.errors import ModelError, one_line


def cached_folder(name: str, *, allow_download: bool = False) -> Path:
    """Return the local folder of a hub id: from the cache, or downloaded if that is allowed."""
    if not allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        folder = snapshot_download(name, local_files_only=not allow_download, allow_patterns=patterns)
    except HFValidationError:
        raise ModelError(f"{name}: neither a folder nor a Hugging Face id") from None
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        if allow_download:
            raise ModelError(f"{name}: cannot be downloaded: {one_line(str(error), 150)}") from None
        raise ModelError(
            f"{name}: no such folder, and no model of this name in the Hugging Face cache",
            "give the path of a local model folder, or allow downloading with --allow-download",
        ) from None
    return Path(folder)


def hub_id(folder: Path) -> str:
    """Return the Hugging Face id that a folder of a cache belongs to, ``org/name``; empty of any other folder."""
    kept = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    return kept.removeprefix("models--").replace("--", "/") if kept.startswith("models--") else ""
