"""Parts of a version: one model each of the archive that was uploaded, in short within a version and at length."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from api.links import Links
from api.schemas.base import Answer, shown_as
from api.schemas.signature import AlgorithmShown, InputShown, OutputShown, ProducerShown, TargetVariableShown
from core.errors import Json
from state.features import effective_features, named_sample
from state.parts import Part, parts_of
from state.tables import Version

FOUND = (
    "format_version", "engine", "engine_version", "platform", "algorithm", "function", "batch",
    "inputs", "outputs", "targets", "producer", "metadata", "sample_output",
)  # fmt: skip


class PartSummary(Answer):
    """One part as a version lists it."""

    key: str
    is_default: bool = Field(description="Whether it answers where no part is named.")
    description: str | None
    file: str = Field(description="Its path in the archive.")
    format: str
    task: str
    digest: str
    size_bytes: int
    url: str
    artifact: str


class PartShown(PartSummary):
    """One part at length: what the inspection has found in it."""

    model_config = shown_as(
        {
            "key": "de",
            "is_default": True,
            "description": "Customers in Germany",
            "file": "models/de.onnx",
            "format": "onnx",
            "task": "classification",
            "digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "size_bytes": 48213,
        }
    )

    opset: int | None
    pmml_version: str | None
    format_version: dict[str, Any]
    engine: str
    engine_version: str
    platform: str
    algorithm: AlgorithmShown
    function: str | None
    batch: str
    inputs: list[InputShown]
    outputs: list[OutputShown]
    targets: list[TargetVariableShown]
    features: dict[str, list[str]] | None
    producer: ProducerShown | None
    metadata: dict[str, str]
    sample: dict[str, Any] | None = Field(description="Null where it is large and the part is not the default one.")
    sample_output: dict[str, Any] | None


class PartList(Answer):
    """All parts of a version: there are few, so they come on one page."""

    items: list[PartShown]


def part_summaries(row: Version, model: str, links: Links) -> list[Json] | None:
    """The parts of a version in the order of its manifest; nothing where its file is one model."""
    return [_summary(part, row, model, links) for part in parts_of(row.signature)] or None


def part_document(part: Part, row: Version, model: str, links: Links) -> dict[str, Json]:
    """A part with what was found in it; names for places that are said of the version are those of its default part."""
    is_default: bool = part["is_default"]
    signature: Mapping[str, Any] = (row.signature or {}) if is_default else part["signature"]
    said = row.features if is_default else None
    return {
        **_summary(part, row, model, links),
        "opset": (signature["format_version"].get("opsets") or {}).get("ai.onnx"),
        "pmml_version": signature["format_version"].get("pmml_version"),
        **{name: signature.get(name) for name in FOUND},
        "features": effective_features(signature, said),
        "sample": named_sample(signature, said),
    }


def _summary(part: Part, row: Version, model: str, links: Links) -> dict[str, Json]:
    url = links.to(f"/api/v1/models/{model}/versions/{row.number}/parts/{part['key']}")
    return {
        **{name: part.get(name) for name in ("key", "is_default", "description", "file", "digest", "size_bytes")},
        "format": part["signature"]["format"],
        "task": row.task if part["is_default"] else part["signature"]["task"],
        "url": url,
        "artifact": f"{url}/artifact",
    }
