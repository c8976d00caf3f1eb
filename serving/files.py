"""Values that come as bytes: a form's file, `{"$base64": …}`, a data URI (RFC 2397).

What the bytes mean depends on the input: text for a string, an array where they are a .npy file, else the bytes
themselves for a vector of UINT8.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from serving.elements import Unfit
from serving.npy import NPY_MAGIC, array_of
from serving.signature import InputField

# Each repeated class ends where the next part begins, so that a text that is no data URI is given up in one pass.
DATA_URI: Final = re.compile(r"data:[\w.+-]*(?:/[\w.+-]*)?(?:;[\w.+-]+=[\w.+%\"-]+)*;base64,", re.ASCII)
LONGEST_HEAD: Final = 500  # characters before a data URI's data
NOT_HERE = (
    "a file of the platform is read by durable predictions and by tests of a version; "
    'here send {"$base64": "…"}, or a form with the file'
)


def bytes_of(value: object) -> bytes | None:
    """The bytes that a JSON value or a form's file stands for; `None` for an ordinary value. Raises `Unfit`."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        head = DATA_URI.match(value, 0, LONGEST_HEAD)
        return None if head is None else _decoded(value[head.end() :], "the data URI")
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    if "$file" in value:
        raise Unfit("names a file, which cannot be read here", NOT_HERE)
    if "$base64" not in value:
        return None
    text = value["$base64"]
    if not isinstance(text, str):
        raise Unfit("has no text in `$base64`", 'write {"$base64": "aGVsbG8="}')
    return _decoded(text, "`$base64`")


def value_of(data: bytes, field: InputField, shape: tuple[int, ...]) -> object:
    """What these bytes are, as JSON would have brought it; `shape` is that of one record's value. Raises `Unfit`."""
    if data.startswith(NPY_MAGIC):
        return array_of(data, shape)
    if field.datatype == "BYTES" and shape in ((), (1,)):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Unfit(
                f"is a file whose byte {error.start} is not UTF-8; it must be text", "save it as UTF-8"
            ) from error
    if field.datatype == "UINT8" and len(shape) == 1:
        return list(data)
    expected = ", ".join("any" if size < 0 else str(size) for size in shape)
    hint = f"send a .npy file (numpy.save) with an array of {field.datatype} and the shape [{expected}]"
    raise Unfit(f"is a file of {len(data)} bytes that this input cannot take", hint)


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit(f"is no base64 in {what}: {error}", "encode it with padding (RFC 4648, section 4)") from error
