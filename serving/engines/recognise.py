"""What a file seems to be, from its bytes alone: nothing is loaded, unpacked or parsed as a whole."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 64 * 1024

# Top-level fields of onnx.proto's ModelProto and their wire types: 0 varint, 2 length-delimited.
_MODEL_PROTO = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH, _OPSETS = 7, 8
_LATEST_FIELD = 60  # newer exporters may write fields that onnx.proto does not have yet


@dataclass(frozen=True, slots=True)
class Guess:
    """A format that is not served, in words, and how its owner gets one that is."""

    what: str
    hint: str


_TO_ONNX = "Export the model to ONNX"
_SKLEARN = f"{_TO_ONNX} (skl2onnx.to_onnx) or PMML (sklearn2pmml) where it was trained."
_TORCH = f"{_TO_ONNX} with torch.onnx.export where it was trained."
_KERAS = f"{_TO_ONNX} with tf2onnx or keras' model.export(format='onnx')."
_BOOSTER = f"{_TO_ONNX} with onnxmltools where it was trained."
_UNPACK = "Upload the model file itself: unpack the archive first."
_OTHER = "Upload an ONNX or a PMML file."

_SIGNATURES: tuple[tuple[re.Pattern[bytes], Guess], ...] = tuple(
    (re.compile(pattern, re.DOTALL), guess)
    for pattern, guess in (
        (rb"\x80[\x02-\x05]", Guess("a Python pickle (joblib, scikit-learn or PyTorch)", _SKLEARN)),
        (rb"PK\x03\x04.*(data\.pkl|constants\.pkl|archive/version)", Guess("a PyTorch model", _TORCH)),
        (rb"PK\x03\x04.*(config\.json|model\.weights\.h5)", Guess("a Keras model", _KERAS)),
        (rb"PK\x03\x04.*\.npy", Guess("a NumPy archive (.npz)", _OTHER)),
        (rb"PK\x03\x04", Guess("a zip archive", _UNPACK)),
        (rb"\x89HDF\r\n\x1a\n", Guess("an HDF5 file (Keras .h5)", _KERAS)),
        (rb"\x93NUMPY", Guess("a NumPy array (.npy)", _OTHER)),
        (rb".{4}TFL3", Guess("a TensorFlow Lite model", _KERAS)),
        (rb".{8}\{\"", Guess("a safetensors file, which has weights but no model", _TORCH)),
        (rb"GGUF", Guess("a GGUF language model", _OTHER)),
        (rb"binf|\{L", Guess("an XGBoost model", _BOOSTER)),
        (rb"CBM1", Guess("a CatBoost model", "Save it with save_model(…, format='onnx').")),
        (rb"tree\nversion=", Guess("a LightGBM model", _BOOSTER)),
        (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF.{4}WEBP|BM.{8}\x36", Guess("an image", _OTHER)),
        (rb"%PDF", Guess("a PDF document", _OTHER)),
        (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|.{257}ustar", Guess("a compressed archive", _UNPACK)),
        (rb"PAR1", Guess("a Parquet file", _OTHER)),
        (rb"\x7fELF|MZ|\xcf\xfa\xed\xfe", Guess("a program", _OTHER)),
        (rb"version https://git-lfs", Guess("a Git LFS pointer", "Run `git lfs pull` and upload the file it fetches.")),
        (rb"\s*[\[{]", Guess("a JSON document", _OTHER)),
    )
)


def guess(head: bytes) -> Guess:
    """What a file that is neither ONNX nor PMML seems to be."""
    for pattern, found in _SIGNATURES:
        if pattern.match(head):
            return found
    # Protocols 0 and 1 of pickle are text: a global or a mark, and the STOP that every pickle ends with.
    if re.match(rb"c[A-Za-z_][\w.]*\n\w+\n|\(|\]", head) and head.rstrip().endswith(b"."):
        return Guess("a Python pickle", _SKLEARN)
    try:
        head[:4096].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head[:4096]) - 4:
            return Guess("a binary file of no format known here", _OTHER)
    return Guess("a text file", _OTHER)


def is_onnx(path: Path) -> bool:
    """Whether the file has the top-level structure of a ModelProto, as far as it goes: a truncated one has, too."""
    with path.open("rb") as file:
        size = path.stat().st_size
        seen: set[int] = set()
        while file.tell() < size:
            tag = _varint(file)
            if tag is None or not _may_be_onnx(tag >> 3, tag & 7):
                return False
            seen.add(tag >> 3)
            value = _varint(file)
            if value is None or (tag & 7 == 2 and file.tell() + value > size):
                return bool(seen & {_GRAPH, _OPSETS}) or 1 in seen
            if tag & 7 == 2:
                file.seek(value, 1)
        return bool(seen & {_GRAPH, _OPSETS})


def _may_be_onnx(number: int, wire: int) -> bool:
    """A known field of its type, or one that a newer exporter may write."""
    if number in _MODEL_PROTO:
        return _MODEL_PROTO[number] == wire
    return 0 < number <= _LATEST_FIELD and wire in (0, 2)


def _varint(file: BinaryIO) -> int | None:
    """A base-128 varint, `None` where the file ends or the number is longer than 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def markup(head: bytes) -> str | None:
    """The text of a file that begins like XML, in whichever of its encodings; `None` for any other file."""
    encoding = "utf-8-sig"
    if head.startswith(b"\xff\xfe") or head[1:2] == b"\0":
        encoding = "utf-16-le"
    elif head.startswith(b"\xfe\xff") or head[:1] == b"\0":
        encoding = "utf-16-be"
    text = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    return text if text.startswith("<") else None


def root_element(text: str) -> str | None:
    """The local name of the first element, or `!DOCTYPE x`; `None` where the text does not reach it."""
    position = 0
    while True:
        match = re.compile(r"\s*(<\?.*?\?>|<!--.*?-->)", re.DOTALL).match(text, position)
        if not match:
            break
        position = match.end()
    doctype = re.compile(r"\s*<!DOCTYPE\s+([^\s>\[]+)", re.IGNORECASE).match(text, position)
    if doctype:
        return f"!DOCTYPE {doctype[1]}"
    # Not the beginning of a comment or an instruction whose end is out of sight.
    element = re.compile(r"\s*<(?:[^\s<>/:!?]+:)?([^\s<>/:!?]+)(?=[\s/>])").match(text, position)
    return element[1] if element else None
