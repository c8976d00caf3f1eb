"""Reads a PMML file in one pass and constant memory, and refuses what no model needs: a DOCTYPE, entities, an abyss.

Expat knows no network, resolves nothing, does not recurse and counts lines; what it reports is counted and dropped.
"""

from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from serving.engines.base import InvalidModel
from serving.engines.pmml_document import PmmlDocument
from serving.engines.pmml_outline import OutlineBuilder
from serving.engines.pmml_text import encoding_of, utf8_chunks

# The deepest trees people train have some hundred levels; PMML4S builds them recursively on the thread's stack.
MAX_DEPTH = 1_000
# One tag with its attributes, or one comment: expat keeps it whole in memory.
MAX_TAG_BYTES = 4 * 1024 * 1024
MAX_FILE_BYTES = 1024 * 1024 * 1024
# Above the oldest that PMML4S names and up to the newest there is.
_VERSIONS = ("3.", "4.0", "4.1", "4.2", "4.3", "4.4")
_SEPARATOR = " "
_CUT_SHORT = (3, 5)  # XML_ERROR_NO_ELEMENTS, XML_ERROR_UNCLOSED_TOKEN
_EXPORT_AGAIN = "Export the model again and upload the complete file."


def read_document(path: Path) -> PmmlDocument:
    """Read and check the file. Raises `InvalidModel` with the line of what is wrong."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise InvalidModel("pmml_malformed", "the file is empty", _EXPORT_AGAIN)
    if size_bytes > MAX_FILE_BYTES:
        limit = f"the file has {size_bytes} bytes; one PMML file may have {MAX_FILE_BYTES}"
        raise InvalidModel("pmml_too_large", limit, "Prune the trees, use fewer of them, or export to ONNX.")
    encoding = encoding_of(path)
    document = PmmlDocument(encoding=encoding)
    reader = _Reader(document)
    for chunk in utf8_chunks(path, encoding):
        reader.feed(chunk)
    return document


class _Reader:
    """Feeds one document to expat and watches depth and sizes."""

    def __init__(self, document: PmmlDocument) -> None:
        self._document = document
        self._depth = 0
        self._fed_bytes = 0
        # With namespaces, because PMML4S silently stops reading where a prefix is not declared.
        self._parser = expat.ParserCreate("UTF-8", _SEPARATOR)
        self._builder = OutlineBuilder(document, self._parser)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.SkippedEntityHandler = self._entity

    def feed(self, chunk: bytes) -> None:
        """The next piece; an empty one ends the document."""
        self._fed_bytes += len(chunk)
        try:
            self._parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            raise self._malformed(error) from error
        if self._fed_bytes - max(self._parser.CurrentByteIndex, 0) > MAX_TAG_BYTES:
            self._refuse("pmml_invalid", f"one tag or comment has more than {MAX_TAG_BYTES} bytes")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(_SEPARATOR)[2]
        if self._depth == 0:
            self._check_root(local, attributes)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(
                "pmml_too_deep", f"<{local}> is nested more than {MAX_DEPTH} elements deep", "Prune the trees."
            )
        self._builder.start(local, attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(name.rpartition(_SEPARATOR)[2])

    def _check_root(self, local: str, attributes: dict[str, str]) -> None:
        if local != "PMML":
            self._refuse("pmml_not_pmml", f"the root element is <{local}>, not <PMML>", "Upload an ONNX or PMML file.")
        version = attributes.get("version", "").strip()
        if not version:
            self._refuse("pmml_invalid", "the PMML element has no version", 'Say for example version="4.4".')
        if not version.startswith(_VERSIONS) or version[:4].rstrip(".").count(".") != 1:
            message = f"PMML {version} is not among the versions that this runtime reads (3.0 to 4.4)"
            self._refuse("pmml_version_unsupported", message, "Export the model as PMML 4.4.")
        self._document.version = version

    def _doctype(self, *_: object) -> None:
        hint = "Remove the <!DOCTYPE …> and what it declares; PMML needs none."
        self._refuse("pmml_doctype", "the file has a DOCTYPE, which is not accepted", hint)

    def _entity(self, name: str, *_: object) -> None:
        self._refuse("pmml_malformed", f"the entity '&{name};' is not defined", "Write the character itself.")

    def _malformed(self, error: expat.ExpatError) -> InvalidModel:
        if error.code in _CUT_SHORT:
            reason = "the file ends in the middle"
            return InvalidModel("pmml_malformed", f"line {error.lineno}: {reason}", _EXPORT_AGAIN)
        reason = expat.ErrorString(error.code) or "malformed XML"
        return InvalidModel("pmml_malformed", f"line {error.lineno}: {reason}", "Make the file well-formed XML.")

    def _refuse(self, code: str, reason: str, hint: str = "") -> NoReturn:
        raise InvalidModel(code, f"line {self._parser.CurrentLineNumber}: {reason}", hint)
