"""What the inspection finds in a version, as it is shown: parts of the model server's `signature.schema.json`."""

from pydantic import Field

from api.schemas.base import Answer

Scalar = str | int | float | bool
Shape = list[int]


class AlgorithmShown(Answer):
    """The method in words a data scientist uses, and the element or operator it was read from."""

    name: str
    detail: str


class ProducerShown(Answer):
    """Who wrote the file."""

    name: str
    version: str | None = None


class IntervalShown(Answer):
    """A range of allowed values; null is unbounded."""

    min: float | None = None
    max: float | None = None
    min_inclusive: bool = True
    max_inclusive: bool = True


class TreatmentShown(Answer):
    """What the model itself does with a missing or invalid value (PMML MiningSchema words), and with what."""

    treatment: str
    replacement: Scalar | None = None


class InputShown(Answer):
    """One named input. The first dimension is the record's, unless `batch` of the version is `none`."""

    name: str
    datatype: str = Field(description="As the Open Inference Protocol calls it: FP32, INT64, BYTES, …")
    shape: Shape = Field(description="Every dimension, -1 where it is free.")
    required: bool = True
    nullable: bool = False
    measure: str | None = None
    values: list[Scalar] | None = None
    intervals: list[IntervalShown] | None = None
    missing: TreatmentShown | None = None
    invalid: TreatmentShown | None = None
    logical_type: str | None = Field(None, description="date, dateTime or time where a text or number carries one.")
    features: list[str] | None = Field(None, description="What the file itself calls the places of a vector.")
    description: str | None = None


class OutputShown(Answer):
    """One named output: `role` says what it means for the task, `labels` what its last axis counts."""

    name: str
    datatype: str
    shape: Shape
    role: str = "field"
    labels: list[Scalar] | None = None
    target: str | None = None
    measure: str | None = None
    values: list[Scalar] | None = None
    description: str | None = None


class TargetVariableShown(Answer):
    """What the model was trained to predict."""

    name: str
    datatype: str
    measure: str | None = None
    values: list[Scalar] | None = None
