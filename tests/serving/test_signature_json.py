"""The signature as JSON: the schema, the dataclasses and the strict reader say the same."""

import dataclasses
import json
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
