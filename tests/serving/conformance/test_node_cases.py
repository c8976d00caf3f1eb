"""Served answers equal the bare engine's, bit for bit, on the conformance data of every ONNX operator."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from serving.application import ModelServer
from serving.engines.base import Columns, InvalidModel
from serving.engines.onnx import OnnxEngine
from serving.score import Identity, Scorer
from serving.signature import Signature
from tests.serving.conformance.bare import Excluded, bare_answer, difference, stamped
from tests.serving.conformance.binary_way import OipBinary
from tests.serving.conformance.node_cases import NodeCase, node_cases
from tests.serving.conformance.table_ways import ArrowRows, OipGrpc
from tests.serving.conformance.ways import WAYS as JSON_WAYS
from tests.serving.conformance.ways import NotAnswered, Way, datatypes_of

WAYS: tuple[Way, ...] = (*JSON_WAYS, OipBinary(), OipGrpc(), ArrowRows())
IDENTITY = Identity("node", "node", "node", "1")
# What a version may not be, and the engine's bare users may.
NOT_SERVED = {
    "onnx_no_inputs": "the graph has no inputs",
    "onnx_unsupported_input": "an input's element type is none of the protocol's",
    "onnx_unsupported_output": "an output's element type is none of the protocol's",
}
REASONS = {
    "onnxruntime does not load it",
    "onnxruntime does not run it",
    "onnxruntime draws random numbers",
    "an input or output is no tensor",
    *NOT_SERVED.values(),
}


@dataclass(frozen=True, slots=True)
class Served:
    """A case in a model server, with the bare engine's answer."""

    case: NodeCase
    signature: Signature
    server: ModelServer
    columns: Columns
    answer: Columns


@dataclass(slots=True)
class Findings:
    """What came of all cases."""

    excluded: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    differences: dict[str, list[str]] = field(default_factory=dict)
    datatypes: dict[str, set[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """All cases asked in all ways, once."""
    return asyncio.run(_ask_all(tmp_path_factory.mktemp("nodes") / "model.onnx"))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_answer_is_the_bare_engines_bit_for_bit(findings: Findings, way: Way) -> None:
    assert findings.differences[way.name] == [], "\n".join(findings.differences[way.name])
    assert findings.compared[way.name] > 1400, findings.compared


def test_all_datatypes_are_compared(findings: Findings) -> None:
    integers = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
    assert findings.datatypes["/v2 JSON"] == {"BOOL", "FP32", "FP64", "BYTES", *integers}
    assert findings.datatypes["/predict"] == {"BOOL", "FP16", "BF16", "FP32", "FP64", "BYTES", *integers}


def test_a_case_is_left_out_for_a_known_reason_only(findings: Findings) -> None:
    assert set(findings.excluded) <= REASONS
    assert findings.excluded["an input or output is no tensor"] < 40
    assert sum(findings.excluded[reason] for reason in NOT_SERVED.values()) < 20


async def _ask_all(path: Path) -> Findings:
    found = Findings(differences={way.name: [] for way in WAYS}, datatypes={way.name: set() for way in WAYS})
    for served in _servable(path, found.excluded):
        for way in WAYS:
            if not way.carries(served.signature, served.columns, served.answer):
                continue
            found.compared[way.name] += 1
            found.datatypes[way.name] |= datatypes_of(served.signature)
            try:
                answer = await way.ask(served.server, served.signature, served.columns)
                differs = difference(answer, served.answer, keeps_shapes=way.keeps_shapes)
            except NotAnswered as error:
                differs = str(error)
            if differs:
                found.differences[way.name].append(f"{served.case.name}: {differs}")
    return found


def _servable(path: Path, excluded: Counter[str]) -> Iterator[Served]:
    for case in node_cases():
        try:
            yield _served(case, path)
        except Excluded as reason:
            excluded[str(reason)] += 1


def _served(case: NodeCase, path: Path) -> Served:
    if not case.carries_tensors:
        raise Excluded("an input or output is no tensor")
    model = stamped(case)
    path.write_bytes(model.SerializeToString())
    engine = OnnxEngine()
    try:
        signature = engine.describe(path)
    except InvalidModel as error:
        bare_answer(case, model)  # what the engine does not run either says nothing about us
        raise Excluded(NOT_SERVED.get(error.code, f"{error.code}: {error.message}")) from error
    answer = bare_answer(case, model)
    server = ModelServer(IDENTITY, None, 1)
    server.serve(Scorer(signature, engine.load(path, signature, 1), IDENTITY), 0.0)
    return Served(case, signature, server, _columns(case.feeds), answer)


def _columns(feeds: Mapping[str, object]) -> Columns:
    """The inputs as the signature's datatypes have them: bfloat16 as float32."""
    arrays = {name: np.asarray(feed) for name, feed in feeds.items()}
    return {name: a.astype(np.float32) if a.dtype.name == "bfloat16" else a for name, a in arrays.items()}
