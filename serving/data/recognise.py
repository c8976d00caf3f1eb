"""What a data file is, by its first bytes and not by its name: format, compression, encoding, and a CSV's dialect."""

import codecs
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from serving.data.arrow_source import MAGIC as ARROW_FILE
from serving.data.dialect import dialect_of
from serving.data.formats import NULL_VALUES, Compression, DatasetInvalid, FileFormat, Format
from serving.data.streams import MIB, UTF8_BOM, Unpacked

HEAD_BYTES: Final = MIB
LONG_HEAD_BYTES: Final = 16 * MIB  # where a first line is longer: that of ten thousand names of a thousand characters
_ARROW_STREAM: Final = b"\xff\xff\xff\xff"
_PARQUET: Final = b"PAR1"
_COMPRESSIONS: Final[tuple[tuple[bytes, Compression], ...]] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_CONVERT: Final = "Convert it to Parquet or CSV, for example with pandas."
_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Unpack it, or save the sheet as CSV."),
    (b"PK\x05\x06", "an empty zip archive", "Upload a table: CSV, JSON lines, Parquet or Arrow."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Save the sheet as CSV."),
    (b"PARE", "an encrypted Parquet file", "Write it without encryption: there are no keys here."),
    (b"%PDF", "a PDF document", "Upload a table: CSV, JSON lines, Parquet or Arrow."),
    (b"BZh", "packed by bzip2", "Unpack it, or pack it with gzip or zstd."),
    (b"\xfd7zXZ", "packed by xz", "Unpack it, or pack it with gzip or zstd."),
    (b"7z\xbc\xaf", "packed by 7-Zip", "Unpack it, or pack it with gzip or zstd."),
    (b"\x04\x22\x4d\x18", "packed by lz4", "Unpack it, or pack it with gzip or zstd."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"\x89HDF", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"Obj\x01", "an Avro file", _CONVERT),
    (b"ORC", "an ORC file", _CONVERT),
    (b"FEA1", "a Feather file of version 1", "Write it with pyarrow.feather.write_feather, version 2."),
)
_MARKS: Final = (
    (UTF8_BOM, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENCODINGS: Final = {"utf-8-sig": "utf-8", "utf8": "utf-8", "ascii": "utf-8", "us-ascii": "utf-8", "latin1": "latin-1"}
_PROBE: Final = "A,1\n"
_TEXT_ONLY: Final = ("csv", "jsonl")


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says about a file, and need not."""

    format: FileFormat | None = None
    compression: Compression | None = None
    delimiter: str | None = None
    quote: str | None = None  # "" for a text without quoting
    encoding: str | None = None
    has_header: bool | None = None
    null_values: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file's format without its columns; the names of a CSV's, and what is doubtful."""

    format: Format
    names: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)


def recognise(path: Path, said: Said, name: str = "") -> Recognised:
    """What a file is; `name` is what it was called where it came from. Raises `DatasetInvalid` for what is not read."""
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise DatasetInvalid("the file is empty", "Upload a file with at least one row.")
    compression = said.compression or next((each for magic, each in _COMPRESSIONS if start.startswith(magic)), None)
    with closing(Unpacked(path, compression)) as unpacked:
        head = bytes(unpacked.read(HEAD_BYTES))
        is_whole = len(head) < HEAD_BYTES
        if not is_whole and _binary_format(head) is None and _has_one_line(head):
            head += bytes(unpacked.read(LONG_HEAD_BYTES - HEAD_BYTES))
            is_whole = len(head) < LONG_HEAD_BYTES
    if not head:
        raise DatasetInvalid("the file is empty once it is unpacked", "Upload a file with at least one row.")
    return _of_head(head, compression, said, name, is_whole=is_whole)


def _has_one_line(head: bytes) -> bool:
    return b"\n" not in head and b"\r" not in head


def _of_head(head: bytes, compression: Compression | None, said: Said, name: str, *, is_whole: bool) -> Recognised:
    binary = _binary_format(head)
    if said.format is not None and (binary or "csv") != said.format and (binary or said.format not in _TEXT_ONLY):
        is_what = f"looks like {binary}" if binary else "begins with text"
        raise DatasetInvalid(f"the file {is_what}, not like {said.format}", "Leave `format` out, or correct it.")
    if binary == "parquet" and compression is not None:
        raise DatasetInvalid("the file is a Parquet file in another compression", "Unpack it: Parquet packs itself.")
    if binary is not None:
        return Recognised(Format(binary, compression))
    for magic, what, hint in _FOREIGN:
        if head.startswith(magic):
            raise DatasetInvalid(f"the file is {what}, which is no table that is read here", hint)
    warnings: list[str] = []
    encoding = _encoding(head, said, warnings)
    text = _decoded(head, encoding)
    kind = said.format or _text_format(text, name)
    null_values = NULL_VALUES if said.null_values is None else said.null_values
    if kind == "jsonl":
        return Recognised(Format(kind, compression, encoding=encoding), (), warnings)
    if not is_whole and _has_one_line(head):
        message = f"line 1 has no end within {len(head) // MIB} MiB"
        raise DatasetInvalid(message, "Check the line ends, and whether this is a table.", line=1)
    found = dialect_of(text, is_whole=is_whole, delimiter=said.delimiter, quote=said.quote, has_header=said.has_header)
    format = Format(
        kind, compression, found.delimiter, found.quote, encoding, found.has_header, null_values=null_values
    )
    return Recognised(format, found.names, [*warnings, *found.warnings])


def _binary_format(head: bytes) -> FileFormat | None:
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith((ARROW_FILE[:6], _ARROW_STREAM)):
        return "arrow"
    return None


def _encoding(head: bytes, said: Said, warnings: list[str]) -> str:
    if said.encoding is not None:
        return _known_encoding(said.encoding)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2].count(0), head[1::2].count(0)
    # A line end lies in the half that has no NULs; where it lies in both, these are NULs in a text of bytes.
    ends_even, ends_odd = head[0::2].count(b"\n"), head[1::2].count(b"\n")
    if odd > len(head) // 8 and even * 10 < odd and ends_odd <= ends_even // 8:
        return "utf-16-le"
    if even > len(head) // 8 and odd * 10 < even and ends_even <= ends_odd // 8:
        return "utf-16-be"
    _refuse_binary(head)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        encoding = "cp1252" if not set(head) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"
        warnings.append(f"line {line} is no UTF-8: the text is read as {encoding}; say the encoding if it is another")
        return encoding
    return "utf-8"


def _known_encoding(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        is_for_tables = _PROBE.encode(name).decode(name) == _PROBE  # `idna` is an encoding, too
    except (LookupError, ValueError, TypeError):
        is_for_tables = False
    if not is_for_tables:
        raise DatasetInvalid(f"there is no encoding {encoding[:40]!r}", "Say utf-8, utf-16, latin-1 or cp1252.")
    return _ENCODINGS.get(name, name)


def _refuse_binary(head: bytes) -> None:
    hint = "Upload a table: CSV, JSON lines, Parquet or Arrow, as it is or packed by gzip or zstd."
    nul = head.find(0)
    if nul >= 0:
        line = head.count(b"\n", 0, nul) + 1
        raise DatasetInvalid(f"line {line} has a NUL byte: the file is no text", hint, line=line)
    controls = len(head) - len(head.translate(None, bytes(code for code in range(32) if code not in (9, 10, 12, 13))))
    if controls > len(head) // 20:
        raise DatasetInvalid("the file is no text and no format that is known here", hint)


def _decoded(head: bytes, encoding: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except ValueError as error:
        at = getattr(error, "start", 0)
        line = head.count(b"\n", 0, at) + 1
        raise DatasetInvalid(f"line {line} is not {encoding}", "Say another encoding.", line=line) from error
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise DatasetInvalid("the file has nothing but empty lines", "Upload a file with at least one row.")
    return text


def _text_format(text: str, name: str) -> FileFormat:
    start = text.lstrip()
    if start.startswith("{") and (start[1:].lstrip()[:1] in ('"', "}") or name.endswith((".jsonl", ".ndjson"))):
        return "jsonl"
    if start.startswith("[") and start[1:].lstrip()[:1] in ("{", "["):
        hint = "Write one object a line: jq -c '.[]' table.json > table.jsonl"
        raise DatasetInvalid("the file is one JSON array, not JSON lines", hint)
    if start[:15].lower().startswith(("<!doctype", "<html", "<?xml")):
        hint = "Check the address that it was fetched from, or export the table as CSV."
        raise DatasetInvalid("the file is a page of HTML or XML, no table", hint)
    return "csv"
