"""The door of the engines: says what a file is by looking inside, and imports only the engine that it needs."""

from pathlib import Path

from serving.engines.base import Engine, InvalidModel, LoadedModel
from serving.engines.recognise import HEAD_BYTES, guess, is_onnx, markup, root_element
from serving.signature import Format, Signature


def detect_format(path: Path) -> Format:
    """The format of a model file, never judged by its name. Raises `InvalidModel` for what is not served."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        message = f"the file {path.name!r} cannot be read: {error.strerror}"
        raise InvalidModel("unreadable_file", message, "Name a model file that exists.") from error
    if not head:
        raise InvalidModel("empty_file", "the file is empty", "Upload it again; the export or the copy was cut short.")
    text = markup(head)
    if text is not None:
        return _markup_format(text)
    if is_onnx(path):
        return "onnx"
    found = guess(head)
    raise InvalidModel("format_not_served", f"the file seems to be {found.what}, which is not served", found.hint)


def open_engine(file_format: Format) -> Engine:
    """The engine of a format. Raises `InvalidModel` for one that is not served."""
    if file_format == "onnx":
        return _Onnx()
    if file_format == "pmml":
        from serving.engines.pmml import PmmlEngine

        return PmmlEngine()
    raise InvalidModel("format_not_served", f"the format {file_format!r} is not served", "Export it to ONNX or PMML.")


class _Onnx:
    """The ONNX engine without the package onnx, a fifth of a replica's start, as long as nobody needs it."""

    def describe(self, path: Path) -> Signature:
        from serving.engines.onnx import OnnxEngine

        return OnnxEngine().describe(path)

    def load(self, path: Path, signature: Signature, threads: int) -> LoadedModel:
        from serving.engines.onnx_session import OnnxModel, load_unchanged, may_be_trees

        session = None if may_be_trees(path) else load_unchanged(path, threads)
        if session is not None:
            return OnnxModel(session, signature)
        from serving.engines.onnx import OnnxEngine

        return OnnxEngine().load(path, signature, threads)


def _markup_format(text: str) -> Format:
    root = root_element(text)
    if root == "!DOCTYPE html" or (root or "").lower() == "html":
        message = "the file is an HTML page, not a model"
        raise InvalidModel("format_not_served", message, "The download probably failed: fetch the model file again.")
    # A document whose root is out of sight or behind a DOCTYPE is the PMML reader's to refuse: it says where and why.
    if root is None or root == "PMML" or root.startswith("!DOCTYPE"):
        return "pmml"
    message = f"the file is XML with the root element {root[:60]!r}, not PMML"
    raise InvalidModel("format_not_served", message, "Export the model to PMML or ONNX.")
