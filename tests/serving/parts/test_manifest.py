"""`portside.json` is read strictly: what is wrong in it is named, with how it is written right."""

import time
from pathlib import Path

import pytest

from serving.engines.base import InvalidModel
from serving.parts.archive import opened
from serving.parts.manifest import LARGEST_BYTES, MOST_PARTS, Manifest, NamedPart, read_manifest
from tests.serving.archives import Content, make_archive

FILES: dict[str, Content] = {"models/de.onnx": b"1", "fr.pmml": b"2", "README.md": b"3"}
DE = "models/de.onnx"


def read(folder: Path, manifest: object, files: dict[str, Content] = FILES) -> Manifest:
    with opened(make_archive(folder / "models.zip", files, manifest)) as archive:
        return read_manifest(archive)


def refused(folder: Path, manifest: object, files: dict[str, Content] = FILES) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        read(folder, manifest, files)
    assert caught.value.hint
    return caught.value


def test_parts_keep_their_order_and_the_first_is_the_default(tmp_path: Path) -> None:
    parts = {"fr": "fr.pmml", "de": {"file": DE, "description": "Germany", "features": {"x": ["age", "height"]}}}
    de = NamedPart("de", DE, "Germany", {"x": ("age", "height")})
    found = (NamedPart("fr", "fr.pmml"), de)
    assert read(tmp_path, {"parts": parts}) == Manifest(found, "fr")
    assert read(tmp_path, {"parts": parts, "default": "de"}) == Manifest(found, "de")


def test_two_keys_may_name_one_file(tmp_path: Path) -> None:
    assert [part.file for part in read(tmp_path, {"parts": {"de": DE, "at": DE}}).parts] == [DE, DE]


def test_an_editors_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, b'\xef\xbb\xbf{"parts": {"fr": "fr.pmml"}}').default == "fr"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"parts": {"fr": "fr.pmml", "fr": "models/de.onnx"}}', "'fr' is given twice"),
        (b" " * (LARGEST_BYTES + 1), f"has more than {LARGEST_BYTES} bytes"),
        ([], "something else than an object"),
        ({}, "has no 'parts'"),
        ({"parts": {}}, "has no 'parts'"),
        ({"parts": ["fr.pmml"]}, "has no 'parts'"),
        ({"parts": {"fr": "fr.pmml"}, "models": {}}, "unknown field 'models'"),
        ({"parts": {"fr": {"file": "fr.pmml", "path": "x"}}}, "unknown field 'path' at the part 'fr'"),
        ({"parts": {"fr": {"description": "x"}}}, "no 'file' at the part 'fr'"),
        ({"parts": {"fr": {"file": 3}}}, "no 'file' at the part 'fr'"),
        ({"parts": {"fr": 3}}, "something else than an object at the part 'fr'"),
        ({"parts": {"fr": {"file": "fr.pmml", "description": 3}}}, "'description' at the part 'fr'"),
        ({"parts": {"fr": {"file": "fr.pmml", "description": "x" * 2001}}}, "'description' at the part 'fr'"),
        ({"parts": {"fr": {"file": "fr.pmml", "features": ["age"]}}}, "'features' at the part 'fr'"),
        ({"parts": {"fr": {"file": "fr.pmml", "features": {"x": [1]}}}}, "'features' at the part 'fr'"),
        ({"parts": {"fr": {"file": "fr.pmml", "features": {"x": [""]}}}}, "'features' at the part 'fr'"),
        ({"parts": {"fr": {"file": "fr.pmml", "features": {"x": ["a" * 201]}}}}, "each of 1 to 200 characters"),
        (b'{"parts": {"fr": {"file": "fr.pmml", "description": "a\\u0000b"}}}', "'a\\x00b', which cannot be kept"),
        (b'{"parts": {"fr": {"file": "fr.pmml", "description": "\\ud83d"}}}', "'\\ud83d', which cannot be kept"),
        (b'{"parts": {"fr": {"file": "fr.pmml", "features": {"x": ["\\ud800"]}}}}', "which cannot be kept"),
        (b'{"parts": {"fr": "\\ud800.onnx"}}', "which cannot be kept"),
        (b'{"parts": {"fr": "fr.pmml"}, "\\ud800": 1}', "which cannot be kept"),
        ({"parts": {"FR": "fr.pmml"}}, "the key 'FR'"),
        ({"parts": {"1": "fr.pmml"}}, "the key '1'"),
        ({"parts": {"fr-": "fr.pmml"}}, "the key 'fr-'"),
        ({"parts": {"": "fr.pmml"}}, "the key ''"),
        ({"parts": {"a" * 49: "fr.pmml"}}, "the key 'aaa"),
        ({"parts": {f"p{number}": "fr.pmml" for number in range(MOST_PARTS + 1)}}, "at most 32"),
        ({"parts": {"fr": "fr.pmml"}, "default": "de"}, "the default 'de', which is none of its parts: fr"),
        ({"parts": {"fr": "fr.pmml"}, "default": None}, "the default 'None'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, manifest: object, words: str) -> None:
    error = refused(tmp_path, manifest)
    assert error.code == "manifest_invalid"
    assert words in error.message
    assert error.message.startswith("portside.json ")


def test_a_file_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    for named in ("de.onnx", "models/", "./fr.pmml"):
        error = refused(tmp_path, {"parts": {"de": named}})
        assert (error.code, repr(named) in error.message) == ("part_missing", True)
        assert "It has: models/de.onnx, fr.pmml, README.md." in error.hint


def test_an_archive_without_a_manifest_at_its_root_says_where_it_is(tmp_path: Path) -> None:
    error = refused(tmp_path, None)
    assert (error.code, "no portside.json at its root" in error.message) == ("manifest_missing", True)
    inside: dict[str, Content] = {"churn/portside.json": b"{}", "churn/de.onnx": b"1"}
    error = refused(tmp_path, None, inside)
    assert (error.code, "in the folder 'churn/'" in error.message) == ("manifest_missing", True)


def test_a_pair_of_surrogates_is_one_character(tmp_path: Path) -> None:
    manifest = b'{"parts": {"fr": {"file": "fr.pmml", "description": "\\ud83c\\udf37"}}}'
    assert read(tmp_path, manifest).parts[0].description == "\N{TULIP}"


def test_a_key_that_is_given_twice_among_thousands_is_found_soon(tmp_path: Path) -> None:
    members = ", ".join(f'"{number:x}": 1' for number in range(20_000))
    begun = time.process_time()
    assert "'4e1f' is given twice" in refused(tmp_path, f'{{{members}, "4e1f": 1}}'.encode()).message
    assert time.process_time() - begun < 2  # a minute where each key is sought among all before it
