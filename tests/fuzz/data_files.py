"""Data files that are broken, lie or were made to hurt: drawn by a seed from good ones, and some made by hand."""

import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

ROWS = 3000


def good_files() -> Mapping[str, bytes]:
    """A file of each kind."""
    table = _table()
    csv = _csv()
    lines = b"".join(json.dumps(row, default=str).encode() + b"\n" for row in table.slice(0, 500).to_pylist())
    files: dict[str, bytes] = {
        "plain.csv": csv,
        "lines.jsonl": lines,
        "latin.csv": csv.decode().encode("cp1252", "replace"),
    }
    files["utf16.csv"] = csv.decode().encode("utf-16")
    for codec in ("snappy", "zstd", "none", "gzip"):
        sink = io.BytesIO()
        parquet.write_table(table, sink, compression=codec, row_group_size=1000, data_page_size=2000)
        files[f"{codec}.parquet"] = sink.getvalue()
    for codec in ("plain", "lz4", "zstd"):
        files[f"{codec}.arrow"] = _arrow(table, codec, is_file=True)
        files[f"{codec}.arrows"] = _arrow(table, codec, is_file=False)
    for name in ("plain.csv", "lines.jsonl", "plain.arrows"):
        files[f"{name}.gz"] = gzip.compress(files[name], mtime=0)
        files[f"{name}.zst"] = pa.Codec("zstd").compress(files[name], asbytes=True)
    return {**files, **_archives(csv)}


def mutated(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many files, damaged in ways that the seed draws."""
    files = good_files()
    names = sorted(files)
    draw = random.Random(seed)
    for number in range(count):
        name = names[number % len(names)]
        content = bytearray(files[name])
        for _ in range(draw.choice((1, 1, 2, 5))):
            content = draw.choice(MUTATIONS)(content, draw, files[draw.choice(names)])
        yield f"{number:04}-{name}", bytes(content)


def handmade(*names: str) -> Iterator[tuple[str, bytes]]:
    """What was made to hurt: all of it, or these."""
    for name, make in HANDMADE.items():
        if not names or name in names:
            yield name, make()


Content = bytearray


def _cut(content: Content, draw: random.Random, other: bytes) -> Content:
    return content[: draw.randrange(len(content) + 1)]


def _flip(content: Content, draw: random.Random, other: bytes) -> Content:
    for _ in range(draw.choice((1, 3, 30)) if content else 0):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def _overwrite(content: Content, draw: random.Random, other: bytes) -> Content:
    at = draw.randrange(len(content) + 1)
    size = draw.choice((1, 4, 64, 1000))
    content[at : at + size] = draw.choice((bytes(size), b"\xff" * size, draw.randbytes(size), b"\n" * size))
    return content


def _lie(content: Content, draw: random.Random, other: bytes) -> Content:
    """A number that is too large, where lengths tend to be: near the ends."""
    near = min(len(content), 400)
    if near < 16:
        return content
    at = draw.choice((draw.randrange(near - 8), len(content) - near + draw.randrange(near - 8)))
    value = draw.choice((2**31 - 1, -1, -(2**31), 2**30, 10**9))
    content[at : at + 4] = struct.pack("<i", value)
    return content


def _footer_length(content: Content, draw: random.Random, other: bytes) -> Content:
    if len(content) > 16:
        content[-8:-4] = struct.pack("<I", draw.choice((0, 1, 7, len(content), 2**31, 2**32 - 1)))
    return content


def _repeat(content: Content, draw: random.Random, other: bytes) -> Content:
    at = draw.randrange(len(content) + 1)
    return content[:at] + content[at : at + draw.randrange(2000)] * draw.randrange(20) + content[at:]


def _splice(content: Content, draw: random.Random, other: bytes) -> Content:
    return content[: draw.randrange(len(content) + 1)] + other[draw.randrange(len(other)) :]


MUTATIONS = (_cut, _flip, _flip, _overwrite, _lie, _lie, _footer_length, _repeat, _splice)


def _table() -> pa.Table:
    draw = np.random.default_rng(1)
    numbers = draw.normal(size=ROWS)
    return pa.table(
        {
            "i": pa.array(range(ROWS), pa.int32()),
            "x": pa.array(numbers, mask=numbers > 2),
            "s": [f"ü{each % 17}" for each in range(ROWS)],
            "d": pa.array([f"k{each % 5}" for each in range(ROWS)]).dictionary_encode(),
            "l": [list(range(each % 4)) for each in range(ROWS)],
            "t": pa.array(range(ROWS), pa.timestamp("ms")),
            "r": [{"a": each, "b": None} for each in range(ROWS)],
            "b": pa.array([each % 3 == 0 for each in range(ROWS)]),
        }
    )


def _csv() -> bytes:
    lines = [f'{each},{each / 7},"text ""{each}"", and\nmore",{each % 2 == 0},' for each in range(ROWS)]
    return ("i,x,s,b,n\n" + "\n".join(lines) + "\n").encode()


def _arrow(table: pa.Table, codec: str, *, is_file: bool) -> bytes:
    sink = io.BytesIO()
    make, options = (
        (ipc.new_file if is_file else ipc.new_stream),
        ipc.IpcWriteOptions(compression=None if codec == "plain" else codec),
    )
    with make(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2**31 if table.num_rows > 2**20 else 1000)
    return sink.getvalue()


def _claiming(rows: int) -> bytes:
    """A Parquet file of 1000 rows whose footer claims others: as zigzag varints, which Thrift writes."""
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": list(range(1000))}), sink)
    content = sink.getvalue()
    (size,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - size : -8].replace(_varint(1000), _varint(rows))
    return content[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _tar(files: Mapping[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def _archives(csv: bytes) -> Mapping[str, bytes]:
    files = {"a.csv": csv[:5000], "deep/b.bin": bytes(3000), "c.txt": b"text"}
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    tar = _tar(files)
    packed = pa.Codec("zstd").compress(tar, asbytes=True)
    return {"a.zip": sink.getvalue(), "a.tar": tar, "a.tar.gz": gzip.compress(tar, mtime=0), "a.tar.zst": packed}


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _repeated() -> pa.Table:
    """A hundred GiB of text, in a dictionary of one value."""
    text = pa.array(["x" * 2**20])
    return pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), text)})


def _header(count: int) -> bytes:
    return (",".join(f"c{each}" for each in range(count)) + "\n").encode()


HANDMADE: Mapping[str, Callable[[], bytes]] = {
    "endless.csv": lambda: b"x" * (70 * 2**20),
    "endless.csv.gz": lambda: gzip.compress(b"1," * (40 * 2**20), 1),
    "zeros.csv.gz": lambda: gzip.compress(bytes(300 * 2**20), 1),
    "quote.csv": lambda: b'a,b\n1,"' + b"x\n" * 40_000_000,
    "wide.csv": lambda: _header(100_000) * 3,
    "9999.csv": lambda: _header(9999) + b"1," * 9998 + b"1\n",
    "names.csv": lambda: b",,a,a,a_2,\n1,2,3,4,5,6\n",
    "nul.csv": lambda: b"a,b\n" + b"1,2\n" * 1_000_000 + b"1,\x00\n",
    "ends.csv": lambda: b"a,b\r1,2\n3,4\r\n\n\r5,6\r\r\n7,8",
    "late.csv": lambda: b"a,b\n" + b"1,2\n" * 1_000_000 + b"\xff\xfe,x,y\n",
    "deep.jsonl": lambda: b'{"a":' + b"[" * 200_000 + b"\n" + b'{"a":' * 100_000 + b"\n",
    "many.jsonl": lambda: b"".join(b'{"%d":1}\n' % each for each in range(20_000)),
    "huge.jsonl": lambda: b'{"a":' + b"9" * 100_000 + b'}\n{"a":1e999999}\n{"a":"\\ud800"}\n{"a":"\xff"}\n',
    "claims-a-billion.parquet": lambda: _claiming(10**9),
    "claims-all.parquet": lambda: _claiming(2**62),
    "claims-less.parquet": lambda: _claiming(-1),
    "constant.parquet": lambda: _parquet(pa.table({"a": pa.array(np.zeros(30_000_000, np.int8))})),
    "repeated.arrow": lambda: _arrow(_repeated(), "plain", is_file=True),
    "repeated.parquet": lambda: _parquet(_repeated()),
    "bomb.tar.gz": lambda: gzip.compress(_tar({"a": bytes(200 * 2**20)}), 1),
    "null.arrow": lambda: _arrow(pa.table({"a": pa.nulls(2**26)}), "plain", is_file=False),
}
