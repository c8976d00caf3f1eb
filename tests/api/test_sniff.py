"""Formats are found by looking inside; what is not served is named, with the way to what is."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from random import Random

import pytest

from api.protobuf import ModelOutline
from api.sniff import HEAD_BYTES, recognise
from core.errors import InvalidArtifact, Rejected
from tests.api.catalogue import EXAMPLES, ONNX

FILES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".onnx", ".pmml"))
FIXTURES = sorted((EXAMPLES.parent / "tests" / "fixtures").rglob("*.onnx"))


def head_of(content: bytes) -> str:
    return recognise(content[:HEAD_BYTES], is_whole=len(content) <= HEAD_BYTES)


def refused(content: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        head_of(content)
    assert [field.pointer for field in caught.value.fields] == ["/file"]
    assert caught.value.fields[0].hint
    return caught.value


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, b"content")
    return file.getvalue()


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


GRAPH = field(7, field(1, b"node") + field(2, b"graph"))
IR, OPSET, PRODUCER = b"\x08\x08", field(8, b"\x0a\x00\x10\x11"), field(2, b"pytorch")


@pytest.mark.parametrize("path", FILES + FIXTURES, ids=lambda path: path.name)
def test_every_example_is_known_by_its_content(path: Path) -> None:
    assert head_of(path.read_bytes()) == path.suffix[1:]


@pytest.mark.parametrize(
    "content",
    [
        IR + PRODUCER + GRAPH + OPSET,
        PRODUCER + IR + GRAPH + OPSET,
        OPSET + GRAPH + IR,
        GRAPH + IR + OPSET,
        IR + b"\x28\x05" + GRAPH + OPSET + field(14, field(1, b"k") + field(2, b"v")),
        IR + OPSET + field(25, b"function") + GRAPH,
        IR + OPSET + field(31, b"a field of next year") + GRAPH,
    ],
)
def test_an_exporter_may_write_the_fields_of_onnx_in_any_order(content: bytes) -> None:
    assert head_of(content) == "onnx"
    outline = ModelOutline()
    for byte in content:
        outline.feed(bytes([byte]))
    outline.finish()


@pytest.mark.parametrize(
    "text",
    [
        "<PMML/>",
        '<?xml version="1.0"?>\n<!-- made > by <me> -->\n<?style x?>\n <PMML version="4.4">',
        '<p:PMML xmlns:p="http://www.dmg.org/PMML-4_4">',
        "\n\n<PMML\n version='4.4'>",
        "<!--" + "-" * 70_000,
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_pmml_is_known_in_every_encoding(text: str, encoding: str) -> None:
    assert head_of(text.encode(encoding)) == "pmml"


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE PMML []><PMML/>", '<?xml version="1.0"?><!DOCTYPE  PMML SYSTEM "http://x/y.dtd"><PMML/>']
)
def test_a_doctype_is_refused_at_once(text: str) -> None:
    error = refused(text.encode("utf-16"))
    assert error.code == "pmml_doctype"
    assert "DOCTYPE" in error.fields[0].hint


NOT_SERVED = {
    "pickle 0": pickle.dumps({"a": 1}, 0),
    "pickle 1": pickle.dumps([1, 2], 1),
    "pickle of a class": pickle.dumps(Path("x"), 0),
    "pickle 2": pickle.dumps({"a": 1}, 2),
    "pickle 5": pickle.dumps({"a": 1}, 5),
    "joblib zlib": zlib.compress(pickle.dumps({"a": 1}, 3)),
    "joblib gzip": gzip.compress(pickle.dumps({"a": 1}, 4)),
    "joblib bz2": bz2.compress(pickle.dumps({"a": 1}, 4)),
    "joblib xz": lzma.compress(pickle.dumps({"a": 1}, 4)),
    "joblib lzma": lzma.compress(pickle.dumps({"a": 1}, 4), lzma.FORMAT_ALONE),
    "torch": archive("model/data.pkl", "model/data/0"),
    "torchscript": archive("model/data.pkl", "model/code/__torch__.py", "model/constants.pkl"),
    "old torch": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M",
    "keras h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "keras 3": archive("metadata.json", "config.json", "model.weights.h5"),
    "saved model": b"\x08\x01" + field(2, field(1, field(1, b"x"))),
    "frozen graph": field(1, field(1, b"input") + field(2, b"Placeholder")),
    "tflite": b"\x1c\x00\x00\x00TFL3" + bytes(50),
    "ort": b"\x18\x00\x00\x00ORTM" + bytes(50),
    "core ml": b"\x08\x04" + field(2, field(1, b"\x0a\x01x")) + field(303, b"tree"),
    "safetensors": struct.pack("<Q", 64) + b'{"weight":{"dtype":"F32"}}',
    "gguf": b"GGUF\x03\x00\x00\x00",
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr'",
    "npz": archive("arr_0.npy"),
    "xgboost json": b'{"learner":{"attributes":{},"gradient_booster":{}}}',
    "xgboost ubj": b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{L",
    "old xgboost": b"binf" + bytes(40),
    "lightgbm": b"tree\nversion=v4\nnum_class=1\n",
    "catboost": b"CBM1" + bytes(40),
    "catboost json": b'{\n"features_info":{}}',
    "keras json": b'{"class_name": "Sequential", "config": {}}',
    "tensorflow.js": b'{"format": "layers-model", "generatedBy": "keras"}',
    "rds": gzip.compress(b"X\n\x00\x00\x00\x03\x00\x04\x02\x01"),
    "rdata": gzip.compress(b"RDX3\nX\n\x00\x00\x00\x03"),
    "mojo": archive("model.ini", "domains/d000.txt"),
    "pojo": b"/* licence */\nimport java.util.Map;\nimport hex.genmodel.GenModel;\npublic class m extends GenModel {",
    "openvino": b'<?xml version="1.0"?><net name="x" version="11">',
    "tensorrt": b"ptrt\x00\x00",
}


@pytest.mark.parametrize("name", NOT_SERVED)
def test_a_model_format_that_is_not_served_is_named_with_a_way_out(name: str) -> None:
    error = refused(NOT_SERVED[name])
    assert error.code == "format_not_served", error.message


NOT_A_MODEL = {
    "empty": b"",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(100),
    "gif": b"GIF89a" + bytes(50),
    "bmp": b"BM" + struct.pack("<I", 1000) + bytes(4) + b"\x36",
    "pdf": b"%PDF-1.7",
    "zip": archive("readme.txt"),
    "zip with a model": archive("model.onnx"),
    "docx": archive("[Content_Types].xml"),
    "gzip with a model": gzip.compress(ONNX),
    "gzip of text": gzip.compress(b"hello"),
    "tar": bytes(257) + b"ustar" + bytes(200),
    "html": b"<!DOCTYPE html><html>",
    "html without a doctype": b"<html><body>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg">',
    "json": b'{"a": 1}',
    "json list": b"[1, 2]",
    "csv": b"sepal,petal\n1,2\n",
    "csv of numbers": b"2.0,3.1,4\n2,3,4\n",
    "tsv": b"a\tb\n",
    "text": b"hello world",
    "text in another encoding": "grüße".encode("latin-1") * 40,
    "a lone bracket": b"<",
    "python": b"import sklearn\n",
    "git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "parquet": b"PAR1" + bytes(20),
    "elf": b"\x7fELF" + bytes(50),
    "zeros": bytes(5000),
    "one byte": b"\x08",
}


@pytest.mark.parametrize("name", NOT_A_MODEL)
def test_what_is_no_model_is_refused(name: str) -> None:
    assert refused(NOT_A_MODEL[name]).code == "invalid_artifact"


def test_random_bytes_are_no_model() -> None:
    random = Random(1)
    for _ in range(300):
        refused(random.randbytes(random.randint(1, HEAD_BYTES)))


def test_a_truncated_onnx_file_is_told_from_a_whole_one() -> None:
    for cut in (1, 100, len(ONNX) // 2, len(ONNX) - 40):
        outline = ModelOutline()
        outline.feed(ONNX[:-cut])
        with pytest.raises(InvalidArtifact, match="truncated"):
            outline.finish()


def test_an_onnx_file_without_a_graph_and_one_with_rubbish_behind_it_are_refused() -> None:
    outline = ModelOutline()
    outline.feed(IR + OPSET)
    with pytest.raises(InvalidArtifact, match="without a graph"):
        outline.finish()
    with pytest.raises(InvalidArtifact, match="begins nothing that ONNX has"):
        ModelOutline().feed(ONNX + b"\xff\x01")


def test_a_file_that_unfolds_without_end_is_looked_at_for_a_moment_only() -> None:
    assert refused(gzip.compress(bytes(50_000_000))[:HEAD_BYTES]).code == "invalid_artifact"


@pytest.mark.parametrize("damage", [b"\x00\x00\x00", b"\x0b\x01"])
def test_a_damaged_onnx_file_is_not_taken_for_another_framework(damage: bytes) -> None:
    assert "TensorFlow" not in refused(ONNX + damage).message
