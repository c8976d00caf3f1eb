"""The parts of an archive are described and loaded each as if it had been alone, by its own engine."""

import dataclasses
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serving.engines.base import InvalidModel
from serving.inspect import inspect
from serving.loading import Described, Loaded, load_scorer, prove
from serving.parts import loading
from serving.parts.loading import formats_within, inspect_parts, is_archive_of_parts, load_part, load_parts
from serving.pinning import missing_runtime
from serving.score import Identity
from serving.signature import Signature
from serving.signature_json import decode_signature, encode_signature
from tests.serving.archives import Content, make_archive, two_models

IRIS = Identity("iris", "iris", "flowers", "3")
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FLOWER = dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Path:
    return two_models(tmp_path_factory.mktemp("archive") / "models.zip", repository_root / "examples")


@pytest.fixture(scope="module")
def inspected(archive: Path) -> Signature:
    return inspect_parts(archive, 1)


def outputs(loaded: Loaded, record: object) -> object:
    return json.loads(loaded.scorer.predict(json.dumps({"inputs": record}).encode()))["outputs"]


def test_each_part_is_described_as_its_file_is_alone(inspected: Signature, examples: Path) -> None:
    assert inspected.parts is not None
    by_key = {part.key: part for part in inspected.parts}
    assert list(by_key) == ["de", "fr"]
    for key, name in (("de", "iris.onnx"), ("fr", "iris.pmml")):
        content, out = (examples / name).read_bytes(), io.BytesIO()
        assert inspect(examples / name, 1, out) == 0
        part = by_key[key]
        assert part.signature == decode_signature(out.getvalue())
        assert part.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert part.size_bytes == len(content)
    assert [(part.is_default, part.description) for part in inspected.parts] == [(False, None), (True, "France")]


def test_the_whole_is_told_as_its_default_part(inspected: Signature) -> None:
    assert inspected.parts is not None
    assert dataclasses.replace(inspected, parts=None) == inspected.parts[1].signature
    assert (inspected.format, inspected.sample is not None) == ("pmml", True)


def test_what_an_inspection_prints_is_what_a_server_reads(archive: Path, inspected: Signature) -> None:
    out = io.BytesIO()
    assert inspect(archive, 1, out) == 0
    assert decode_signature(out.getvalue()) == inspected == decode_signature(encode_signature(inspected))


@pytest.mark.parametrize("is_inspected", [True, False])
def test_each_part_answers_as_its_file_does_alone(
    archive: Path, inspected: Signature, examples: Path, is_inspected: bool
) -> None:
    loaded = load_parts(archive, inspected if is_inspected else None, IRIS, 1)
    alone = {name: load_scorer(examples / f"iris.{name}", None, IRIS, 1) for name in ("onnx", "pmml")}
    vector = {"float_input": list(FLOWER.values())}
    assert outputs(loaded.by_key["de"], vector) == outputs(alone["onnx"], vector)
    assert outputs(loaded.by_key["fr"], FLOWER) == outputs(alone["pmml"], FLOWER) == outputs(loaded.default, FLOWER)
    assert {key: part.scorer.identity.part for key, part in loaded.by_key.items()} == {"de": "de", "fr": "fr"}


def test_names_said_of_the_version_hold_for_its_default_part(tmp_path: Path, examples: Path) -> None:
    files: dict[str, Content] = {"iris.onnx": examples / "iris.onnx"}
    parts = {"de": "iris.onnx", "at": {"file": "iris.onnx", "features": {"float_input": NAMES}}}
    path = make_archive(tmp_path / "models.zip", files, {"parts": parts})
    found = inspect_parts(path, 1)
    said = dataclasses.replace(found.inputs[0], features=tuple(reversed(NAMES)))
    loaded = load_parts(path, dataclasses.replace(found, inputs=(said,)), IRIS, 1)
    reverse = dict(zip(reversed(NAMES), FLOWER.values(), strict=True))
    assert outputs(loaded.default, reverse) == outputs(loaded.by_key["de"], reverse)
    assert outputs(loaded.by_key["at"], FLOWER) == outputs(loaded.default, reverse)


def test_names_of_the_manifest_hold_for_their_part_with_and_without_an_inspection(
    tmp_path: Path, examples: Path
) -> None:
    files: dict[str, Content] = {"iris.onnx": examples / "iris.onnx"}
    parts = {"at": {"file": "iris.onnx", "features": {"float_input": NAMES}}}
    path = make_archive(tmp_path / "models.zip", files, {"parts": parts})
    vector = {"float_input": list(FLOWER.values())}
    for signature in (inspect_parts(path, 1), None):
        loaded = load_parts(path, signature, IRIS, 1)
        assert outputs(loaded.default, FLOWER) == outputs(loaded.default, vector)
    parts = {"at": {"file": "iris.onnx", "features": {"float_input": NAMES[:3]}}}
    with pytest.raises(InvalidModel, match=r"part 'at' .* its features do not fit: 3 names"):
        inspect_parts(make_archive(tmp_path / "unfit.zip", files, {"parts": parts}), 1)


def test_a_part_that_cannot_be_served_is_named_with_its_file(tmp_path: Path, examples: Path) -> None:
    files: dict[str, Content] = {"good.onnx": examples / "iris.onnx", "models/bad.onnx": b"\x80\x04not a model"}
    path = make_archive(tmp_path / "models.zip", files, {"parts": {"de": "good.onnx", "fr": "models/bad.onnx"}})
    out = io.BytesIO()
    assert inspect(path, 1, out) == 65
    told = json.loads(out.getvalue())
    assert told["code"] == "format_not_served"
    assert told["message"].startswith("the part 'fr' (models/bad.onnx) cannot be served: the file seems to be a Python")
    assert "skl2onnx" in told["hint"]


def test_an_archive_within_an_archive_is_no_part(tmp_path: Path, archive: Path) -> None:
    path = make_archive(tmp_path / "outer.zip", {"inner.zip": archive}, {"parts": {"de": "inner.zip"}})
    with pytest.raises(InvalidModel, match=r"part 'de' .* a zip archive"):
        inspect_parts(path, 1)


def test_parts_that_are_too_much_together_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Content] = {"a": bytes(600), "b": bytes(600)}
    path = make_archive(tmp_path / "models.zip", files, {"parts": {"a": "a", "b": "b"}})
    monkeypatch.setattr(loading, "LARGEST_UNPACKED_BYTES", 1000)
    with pytest.raises(InvalidModel) as caught:
        inspect_parts(path, 1)
    assert (caught.value.code, "1200 bytes together" in caught.value.message) == ("archive_too_large", True)


def test_a_large_sample_is_kept_for_the_default_part_only(
    archive: Path, inspected: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LARGEST_SAMPLE_BYTES", 10)
    found = inspect_parts(archive, 1)
    assert (found.sample, found.sample_output) == (inspected.sample, inspected.sample_output)
    assert [part.signature.sample for part in found.parts or ()] == [None, None]
    vector = {"float_input": list(FLOWER.values())}
    kept, dropped = load_parts(archive, inspected, IRIS, 1), load_parts(archive, found, IRIS, 1)
    assert outputs(dropped.by_key["de"], vector) == outputs(kept.by_key["de"], vector)


def test_a_pinned_runtime_must_be_that_of_every_part(archive: Path, tmp_path: Path, examples: Path) -> None:
    refusal = missing_runtime({"engine": "onnxruntime"}, archive)
    assert refusal is not None
    assert "here is pypmml" in json.loads(refusal)["message"]
    assert missing_runtime({"python": platform.python_version()}, archive) is None
    path = make_archive(tmp_path / "onnx.zip", {"a": examples / "iris.onnx"}, {"parts": {"a": "a"}})
    assert missing_runtime({"engine": "onnxruntime"}, path) is None


def test_nothing_that_was_unpacked_is_left(
    archive: Path, inspected: Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    load_parts(archive, inspected, IRIS, 1)
    with pytest.raises(InvalidModel):
        inspect_parts(make_archive(tmp_path / "bad.zip", {"a": b"a"}, {"parts": {"a": "a"}}), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_one_part_is_loaded_for_a_trial(archive: Path, inspected: Signature, examples: Path) -> None:
    vector = {"float_input": list(FLOWER.values())}
    alone = load_scorer(examples / "iris.onnx", None, IRIS, 1)
    assert outputs(load_part(archive, inspected, "de", IRIS, 1), vector) == outputs(alone, vector)
    assert load_part(archive, inspected, None, IRIS, 1).scorer.identity.part == "fr"
    for path, hint in ((archive, "Its parts: de, fr."), (examples / "iris.onnx", "Name no part.")):
        with pytest.raises(InvalidModel) as caught:
            load_part(path, None, "es", IRIS, 1)
        assert (caught.value.code, caught.value.hint) == ("unknown_part", hint)


def test_an_archive_is_known_by_its_manifest_and_nothing_else_is_taken_for_one(
    archive: Path, tmp_path: Path, examples: Path
) -> None:
    assert is_archive_of_parts(archive)
    assert formats_within(archive) == {"onnx", "pmml"}
    for content in (b"", b"PK", b"portside.json", (examples / "iris.onnx").read_bytes()):
        (tmp_path / "file").write_bytes(content)
        assert not is_archive_of_parts(tmp_path / "file")
    assert not is_archive_of_parts(make_archive(tmp_path / "other.zip", {"model.onnx": b"1"}))
    assert not is_archive_of_parts(tmp_path / "missing")


LITTLE_ROOM = """
import io, json, pathlib, resource, sys
from serving.inspect import inspect
from serving.trial import Body, try_out
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for ask in (inspect, lambda path, threads, out: try_out(path, None, threads, Body(b"{}"), out)):
    out = io.BytesIO()
    print(ask(pathlib.Path(sys.argv[1]), 1, out), json.loads(out.getvalue())["code"])
"""


def test_a_full_disk_has_a_code_of_its_own(archive: Path, repository_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LITTLE_ROOM, str(archive)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=repository_root, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.stdout, done.stderr) == ("65 disk_full\n65 disk_full\n", "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_unpacked_is_gone_once_the_engine_has_read_it(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left: list[Path] = []

    def tried(described: Described, identity: Identity) -> Signature:
        left.extend(path for path in tmp_path.rglob("*") if path.is_file())
        return prove(described, identity)

    monkeypatch.setattr(loading, "prove", tried)
    inspect_parts(archive, 1)
    assert left == []


def test_a_pinned_runtime_is_compared_with_what_was_inspected_and_unpacks_nothing(
    archive: Path, inspected: Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = tmp_path / "signature.json"
    described.write_bytes(encode_signature(inspected))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    refusal = missing_runtime({"engine": "onnxruntime"}, archive, described)
    assert refusal is not None
    assert "here is pypmml" in json.loads(refusal)["message"]
    assert formats_within(archive, inspected.parts[0].signature if inspected.parts else None) == {"onnx"}
    assert missing_runtime({"python": platform.python_version()}, archive, described) is None
    described.write_bytes(b"{")  # told by who reads it to serve
    assert missing_runtime({"engine": "onnxruntime"}, archive, described) is None
