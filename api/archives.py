"""What an archive or a compressed file seems to hold: its first names, or a few bytes of what is inside.

Decompression is bounded to some hundred bytes of output, so that nothing that unfolds can hurt.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from api.foreign import ARCHIVE, H2O, KERAS_FILE, MAGIC, NUMPY_FILE, PICKLE, SKLEARN, TORCH_FILE, Foreign
from api.markup import read_markup
from api.protobuf import is_onnx

PEEK_BYTES = 512
LOCAL_HEADER = b"PK\x03\x04"
TENSORFLOW: Final = "Export it to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"

# By the names of the first members of a zip file; the first that matches decides.
MEMBERS: Final = (
    (r"(.*/)?constants\.pkl|.*/code/.*\.py", Foreign("a TorchScript model", TORCH_FILE.advice)),
    (r"(.*/)?data\.pkl|archive/version", TORCH_FILE),
    (r"model\.weights\.h5|metadata\.json|config\.json", KERAS_FILE),
    (r"(.*/)?saved_model\.pb", Foreign("a TensorFlow SavedModel in a zip file", TENSORFLOW)),
    (r"model\.ini|domains/.*|experimental/modelDetails\.json", Foreign("an H2O MOJO", H2O)),
    (r"(.*/)?schema\.json|(.*/)?.*\.skops", Foreign("a skops file", SKLEARN)),
    (r"stages/.*|metadata/part-0.*", Foreign("a Spark ML model", "Export it to PMML with jpmml-sparkml.")),
    (r".*\.(onnx|pmml)", ARCHIVE),
    (r".*\.npy", NUMPY_FILE),
    (r"\[Content_Types\]\.xml", Foreign("an Office document", "", is_model=False)),
)


def look_inside(head: bytes) -> Foreign | None:
    """What an archive or compressed file seems to be; None where the head begins neither."""
    if head.startswith((LOCAL_HEADER, b"PK\x05\x06", b"PK\x07\x08")):
        return _zip(_member_names(head))
    if (inside := _unfold(head)) is not None:
        return _compressed(inside)
    if head.startswith((b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")) or head[257:262] == b"ustar":
        return ARCHIVE
    return None


def is_zip(head: bytes) -> bool:
    """Whether the head is that of a zip archive with entries."""
    return head.startswith(LOCAL_HEADER)


def _zip(names: Sequence[str]) -> Foreign:
    for pattern, found in MEMBERS:
        if any(re.fullmatch(pattern, name) for name in names):
            return found
    return ARCHIVE


def _member_names(head: bytes) -> list[str]:
    """The names in those local headers (APPNOTE.TXT 4.3.7) that begin within the head."""
    names: list[str] = []
    position = head.find(LOCAL_HEADER)
    while position >= 0 and len(names) < 200:
        length = int.from_bytes(head[position + 26 : position + 28], "little")
        names.append(head[position + 30 : position + 30 + length].decode("utf-8", "replace"))
        position = head.find(LOCAL_HEADER, position + 30)
    return names


def _unfold(head: bytes) -> bytes | None:
    """A few bytes of the content of a gzip, zlib, bzip2, xz or lzma file."""
    with suppress(zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(head, PEEK_BYTES)
        if re.match(rb"\x78[\x01\x5e\x9c\xda]", head):
            return zlib.decompressobj().decompress(head, PEEK_BYTES)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, PEEK_BYTES)
        if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
            return lzma.LZMADecompressor(memlimit=128 * 1024 * 1024).decompress(head, PEEK_BYTES)
        return None
    return b""


def _compressed(inside: bytes) -> Foreign:
    if inside[257:262] == b"ustar":
        return ARCHIVE
    if is_onnx(inside) or read_markup(inside) == "PMML":
        return Foreign("a compressed model", "Unpack it and upload the model file itself.", is_model=False)
    for pattern, found in MAGIC:
        if found.is_model and pattern.match(inside):
            return Foreign("a compressed joblib file or pickle", SKLEARN) if found is PICKLE else found
    return ARCHIVE
