"""What a model is, as data: the contract `signature.schema.json` as frozen dataclasses.

The platform reads the JSON only; nothing outside this room imports these classes.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
]  # fmt: skip  (Open Inference Protocol names)
Format = Literal["onnx", "pmml", "python"]
Task = Literal["classification", "regression", "clustering", "dimension_reduction", "anomaly", "association", "tensor"]
Measure = Literal["continuous", "categorical", "ordinal"]
Batch = Literal["stack", "loop", "none"]
Role = Literal[
    "label", "probability", "value", "confidence", "cluster", "distance", "affinity", "component", "score", "anomaly",
    "rule", "field",
]  # fmt: skip
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of allowed values; `None` is unbounded."""

    min: float | None = None
    max: float | None = None
    min_inclusive: bool = True
    max_inclusive: bool = True


@dataclass(frozen=True, slots=True)
class Treatment:
    """What the model itself does with a missing or invalid value (PMML MiningSchema words), and with what."""

    treatment: str
    replacement: Scalar | None = None


@dataclass(frozen=True, slots=True)
class InputField:
    """One named input. `shape` has every dimension, -1 where it is free; the first is the record's where `batch` is
    not `none`: `[-1]` is one scalar per record, `[-1, 4]` a vector of four per record."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    required: bool = True
    nullable: bool = False
    measure: Measure | None = None
    values: tuple[Scalar, ...] | None = None
    intervals: tuple[Interval, ...] | None = None
    missing: Treatment | None = None
    invalid: Treatment | None = None
    logical_type: str | None = None  # "date", "dateTime", "time" where BYTES or a number carries one
    features: tuple[str, ...] | None = None  # names of a vector's places, which records and tables may use instead
    description: str | None = None


@dataclass(frozen=True, slots=True)
class OutputField:
    """One named output of the engine. `role` says what it means for the task, `labels` what its last axis counts
    (the class of each probability, the cluster of each distance)."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    role: Role = "field"
    labels: tuple[Scalar, ...] | None = None
    target: str | None = None
    measure: Measure | None = None
    values: tuple[Scalar, ...] | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the model was trained to predict."""

    name: str
    datatype: Datatype
    measure: Measure | None = None
    values: tuple[Scalar, ...] | None = None


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The method in words a data scientist uses ("tree ensemble") and the element or operator it was read from."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Producer:
    """Who wrote the file."""

    name: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """Everything the platform tells about a ready version, and all that validation needs."""

    format: Format
    format_version: dict[str, Any]  # {"ir_version": 8, "opsets": {"ai.onnx": 17}} or {"pmml_version": "4.4"}
    engine: str
    engine_version: str
    platform: str
    algorithm: Algorithm
    task: Task
    batch: Batch
    inputs: tuple[InputField, ...]
    outputs: tuple[OutputField, ...]
    targets: tuple[Target, ...] = ()
    producer: Producer | None = None
    function: str | None = None  # PMML mining function
    metadata: dict[str, str] = field(default_factory=dict)
    sample: dict[str, Any] | None = None  # one record, as `inputs` takes it; proven to predict
    sample_output: dict[str, Any] | None = None
    parts: tuple["Part", ...] | None = None  # of an archive: all of it else is that of its default part


@dataclass(frozen=True, slots=True)
class Part:
    """One model of an archive: what its manifest says of it, and where its file lies in the archive (RFC 1951 where it
    is deflated), so that nobody needs to read the archive's directory again."""

    key: str
    file: str
    digest: str
    size_bytes: int
    offset_bytes: int
    packed_bytes: int
    is_deflated: bool
    signature: Signature
    is_default: bool = False
    description: str | None = None
