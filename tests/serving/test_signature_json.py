"""The signature as JSON: the schema, the dataclasses and the strict reader say the same."""

import dataclasses
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from serving import signature as words
from serving.signature import Interval, OutputField, Producer, Signature, Target, Treatment
from serving.signature_json import InvalidSignature, decode_signature, encode_signature
from tests.serving.models import scalar, signature_of

FULL = dataclasses.replace(
    signature_of(
        (dataclasses.replace(
            scalar("x"), values=("a", 1, 1.5, True), intervals=(Interval(0, None),),
            invalid=Treatment("asValue", 3), measure="ordinal",
        ),),
        (OutputField("y", "FP32", (-1, 2), "probability", ("a", "b"), "t"),),
        sample={"x": 1},
    ),
    producer=Producer("test"), targets=(Target("t", "BYTES", "categorical", ("a", "b")),), metadata={"a": "b"},
)  # fmt: skip


@pytest.fixture(scope="module")
def schema(repository_root: Path) -> dict[str, Any]:
    text = (repository_root / "serving/signature.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_full_signature_conforms_and_comes_back_the_same(schema: dict[str, Any]) -> None:
    document = encode_signature(FULL)
    jsonschema.Draft202012Validator(schema).validate(json.loads(document))
    assert decode_signature(document) == FULL


def test_the_schema_has_the_members_of_the_dataclasses_and_no_others(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    kinds = {"Signature": schema, **{name: part for name, part in schema["$defs"].items() if "properties" in part}}
    for name, part in kinds.items():
        fields = dataclasses.fields(getattr(words, name))
        needed = [
            each.name
            for each in fields
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        ]
        assert sorted(part["properties"]) == sorted(each.name for each in fields), name
        assert (part["required"], part["additionalProperties"]) == (needed, False), name


@pytest.mark.parametrize(
    ("word", "path"),
    [("Task", ("properties", "task")), ("Batch", ("properties", "batch")), ("Format", ("properties", "format")),
     ("Datatype", ("$defs", "Datatype")), ("Role", ("$defs", "OutputField", "properties", "role"))],
)  # fmt: skip
def test_the_schema_has_the_words_of_the_literals(schema: dict[str, Any], word: str, path: tuple[str, ...]) -> None:
    part: Any = schema
    for step in path:
        part = part[step]
    assert tuple(part["enum"]) == get_args(getattr(words, word))


@pytest.mark.parametrize(
    "change",
    [{"format": "h5"}, {"inputs": {}}, {"inputs": [{"name": "x"}]}, {"extra": 1}, {"task": None}, {"batch": 3},
     {"producer": {"name": "x", "extra": 1}}, {"metadata": {"a": 1}}, {"algorithm": "tree"}],
    ids=str,
)  # fmt: skip
def test_what_the_schema_refuses_the_reader_refuses(schema: dict[str, Any], change: dict[str, object]) -> None:
    document = {**json.loads(encode_signature(FULL)), **change}
    assert not jsonschema.Draft202012Validator(schema).is_valid(document)
    with pytest.raises(InvalidSignature):
        decode_signature(json.dumps(document).encode())


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"\xff", b"[" * 5000])
def test_what_is_no_signature_at_all_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidSignature):
        decode_signature(document)


def test_the_optional_members_may_be_left_out() -> None:
    document = {key: value for key, value in json.loads(encode_signature(FULL)).items() if value is not None}
    assert isinstance(decode_signature(json.dumps(document).encode()), Signature)


def test_an_older_release_reads_the_signature_of_a_model(repository_root: Path, tmp_path: Path) -> None:
    """Replicas of a node that is not upgraded yet are started from what an upgraded worker has inspected."""
    release = repository_root / "tests/fixtures/releases/schema-0002.tar.xz"
    with tarfile.open(release) as archive:
        archive.extractall(tmp_path, filter="data")
    reads = "import sys; from serving.signature_json import decode_signature; decode_signature(sys.stdin.buffer.read())"
    ended = subprocess.run(
        [sys.executable, "-c", reads], cwd=tmp_path, input=encode_signature(FULL), capture_output=True, timeout=300
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_later_members_are_written_where_they_say_something(schema: dict[str, Any]) -> None:
    vector = dataclasses.replace(FULL.inputs[0], shape=(-1, 2), features=("age", "height"))
    alone = dataclasses.replace(FULL, inputs=(vector,))
    part = words.Part("de", "de.onnx", "sha256:0", 1, 0, 1, is_deflated=False, signature=alone, is_default=True)
    whole = dataclasses.replace(alone, parts=(part,))
    document = encode_signature(whole)
    jsonschema.Draft202012Validator(schema).validate(json.loads(document))
    assert decode_signature(document) == whole
    assert "parts" not in json.loads(document)["parts"][0]["signature"]
