"""What an upload is, from its first bytes: never by its name, and nothing is loaded, unpacked or executed.

`recognise` answers the format that we serve or raises what it seems to be and how to get one that is served.
"""

import re

from api.archives import is_zip, look_inside
from api.foreign import CSV_LINE, MAGIC, NOT_A_MODEL, Foreign
from api.markup import read_markup
from api.protobuf import is_onnx, seems_core_ml, seems_frozen_graph, seems_saved_model
from core.errors import FieldProblem, FormatNotServed, InvalidArtifact, Rejected

HEAD_BYTES = 64 * 1024
CORE_ML = Foreign(
    "a Core ML model", "Export the model that it was made from to ONNX; Core ML runs on Apple's devices only."
)
TENSORFLOW = Foreign(
    "a TensorFlow model", "Export it to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
)
EXPECTED = "Upload an ONNX file (.onnx) or a PMML file (.pmml)."
MANIFEST = b"portside.json"  # of a zip archive of several models; its name stands there as it is


class PmmlDoctype(InvalidArtifact):
    """A document type declaration, which PMML does not need and attacks do."""

    code, title = "pmml_doctype", "PMML with a DOCTYPE"


def recognise(head: bytes, *, is_whole: bool = False) -> str:
    """`onnx`, `pmml` or `parts` for a file that begins with `head` (64 KiB of it, or the whole file).

    Any zip archive may be one of several models, whatever else is in it: `ManifestSought` knows at its end.
    Raises `FormatNotServed`, `InvalidArtifact` and `PmmlDoctype`, each pointing at `/file`.
    """
    if not head:
        raise refusal(NOT_A_MODEL["empty"])
    root = read_markup(head)
    if root or (root == "" and not is_whole):  # empty: the root comes later, and the inspection will see it
        return _markup_format(root)
    if is_onnx(head):
        return "onnx"
    if is_zip(head) and (MANIFEST in head or not is_whole):
        return "parts"
    raise refusal(_guess(head))


class ManifestSought:
    """Looks for the name of the manifest in an archive as it comes by; what the manifest says is for the inspection."""

    def __init__(self, head: bytes) -> None:
        self._otherwise = _guess(head[:HEAD_BYTES])
        self._is_found = False
        self._last = b""  # the name may begin in one piece and end in the next
        self.feed(head)

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        if not self._is_found:
            seen = self._last + piece
            self._is_found, self._last = MANIFEST in seen, seen[1 - len(MANIFEST) :]

    def finish(self) -> None:
        """Raises `FormatNotServed` or `InvalidArtifact`, by what its head seems to be, for an archive without one."""
        if not self._is_found:
            raise refusal(self._otherwise)


def refusal(found: Foreign) -> Rejected:
    """The error for what was found: a known model format, or no model at all."""
    if found.is_model:
        detail = f"the file seems to be {found.what}; that format is not served"
        return FormatNotServed(f"{detail}. {found.advice}", fields=[FieldProblem("/file", detail, found.advice)])
    advice = found.advice or EXPECTED
    detail = f"the file {found.what}" if found.is_whole_sentence else f"the file seems to be {found.what}, not a model"
    return InvalidArtifact(f"{detail}. {advice}", fields=[FieldProblem("/file", detail, advice)])


def _markup_format(root: str) -> str:
    name = root.rpartition(":")[2]
    if root == "!DOCTYPE PMML":
        detail = "a PMML file must not have a DOCTYPE: it needs none, and entities in it can attack what reads it"
        hint = "remove the <!DOCTYPE …> declaration and upload the file again"
        raise PmmlDoctype(detail, fields=[FieldProblem("/file", detail, hint)])
    if name == "PMML" or not name:
        return "pmml"
    if name.lower() in ("html", "!doctype html"):
        raise refusal(NOT_A_MODEL["html"])
    if name == "net":
        raise refusal(Foreign("an OpenVINO model", "Upload the ONNX file that it was converted from."))
    root_shown = name.removeprefix("!DOCTYPE ")[:60]
    raise refusal(Foreign(f"an XML document with the root <{root_shown}> and not <PMML>", "", is_model=False))


def _guess(head: bytes) -> Foreign:
    for pattern, found in MAGIC:
        if pattern.match(head):
            return found
    if (inside := look_inside(head)) is not None:
        return inside
    if seems_saved_model(head) or seems_frozen_graph(head):
        return TENSORFLOW
    if seems_core_ml(head):
        return CORE_ML
    return _text_or_binary(head)


def _text_or_binary(head: bytes) -> Foreign:
    sample = head[:4096]
    try:
        text = sample.decode()
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:  # the sample may end inside of a character
            return NOT_A_MODEL["binary"]
        text = sample[: error.start].decode()
    if any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return NOT_A_MODEL["binary"]
    if re.match(r"\s*[\[{]", text):
        return NOT_A_MODEL["json"]
    return NOT_A_MODEL["csv" if CSV_LINE.match(text) else "text"]
