"""Zip archives of several models, right ones and such as somebody has made by hand."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

MANIFEST = "portside.json"
Content = bytes | Path


def make_archive(
    target: Path, files: Mapping[str, Content], manifest: object = None, *, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """An archive of these files, with a manifest before them where one is given: a document, or its bytes."""
    with zipfile.ZipFile(target, "w", method) as archive:
        if manifest is not None:
            archive.writestr(MANIFEST, manifest if isinstance(manifest, bytes) else json.dumps(manifest))
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return target


def two_models(target: Path, examples: Path, *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Iris as ONNX (`de`) and as PMML (`fr`, the default)."""
    files: dict[str, Content] = {"models/de.onnx": examples / "iris.onnx", "models/fr.pmml": examples / "iris.pmml"}
    parts = {"de": "models/de.onnx", "fr": {"file": "models/fr.pmml", "description": "France"}}
    return make_archive(target, files, {"parts": parts, "default": "fr"}, method=method)
