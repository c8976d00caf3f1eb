"""What a file is, is found by looking inside."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest

from serving.engines.base import InvalidModel
from serving.engines.open import detect_format, open_engine

PMML = '<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"/>'


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return buffer.getvalue()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"  # a name that must not matter
    path.write_bytes(content)
    return path


def test_an_onnx_file_is_known_by_its_structure_also_when_it_is_cut(tmp_path: Path, repository_root: Path) -> None:
    content = (repository_root / "examples/iris.onnx").read_bytes()
    for part in (content, content[: len(content) // 2], content[:100]):
        assert detect_format(written(tmp_path, part)) == "onnx"


def test_a_field_that_a_newer_exporter_may_write_is_passed_over(tmp_path: Path, repository_root: Path) -> None:
    content = (repository_root / "examples/iris.onnx").read_bytes()
    newer = b"\x90\x03\x01"  # field 50, a varint
    assert detect_format(written(tmp_path, newer + content)) == "onnx"
    assert open_engine("onnx").describe(written(tmp_path, content + newer)).task == "classification"


@pytest.mark.parametrize(
    "content",
    [
        PMML.encode(),
        b"\xef\xbb\xbf" + PMML.encode(),
        PMML.encode("utf-16"),
        PMML.encode("utf-16-be"),
        f'<?xml version="1.0"?>\n<!-- made\nby hand -->\n<?p i?>{PMML}'.encode(),
        b'<p:PMML xmlns:p="http://www.dmg.org/PMML-4_4"/>',
        f'<?xml version="1.0"?><!--{"long " * 14_000}-->{PMML}'.encode(),
        b'<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY a "b">]><PMML/>',
    ],
)
def test_pmml_is_known_by_its_root_in_any_encoding(tmp_path: Path, content: bytes) -> None:
    assert detect_format(written(tmp_path, content)) == "pmml"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "an image"),
        (pickle.dumps({"a": 1}), "pickle"),
        (pickle.dumps({"a": 1}, protocol=0), "pickle"),
        (archive("model/data.pkl", "model/version"), "PyTorch"),
        (archive("config.json", "model.weights.h5"), "Keras"),
        (archive("x.txt"), "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5"),
        (b"\x1f\x8b\x08" + b"\0" * 100, "compressed"),
        (b'{"learner": {}}', "JSON"),
        (b"a,b\n1,2\n", "text file"),
        (bytes(range(200, 256)) * 10, "binary file"),
        (b"<html><body>404</body></html>", "HTML"),
        (b"<!DOCTYPE html><html/>", "HTML"),
        (b"<svg/>", "root element 'svg'"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
    ids=lambda each: repr(each)[:24],
)
def test_any_other_file_is_refused_by_what_it_seems_to_be(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        detect_format(written(tmp_path, content))
    assert words in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_and_a_format_that_is_not_served_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="cannot be read"):
        detect_format(tmp_path / "none")
    with pytest.raises(InvalidModel, match="not served"):
        open_engine("python")
