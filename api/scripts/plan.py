"""What a script is rendered from: a run's plan and a model's signature, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.errors import Json

Against = Literal["api", "file"]
FileFormat = Literal["csv", "jsonl", "parquet", "arrow"]
InputFormat = FileFormat | Literal["files"]  # a folder, or a zip of one


class ScriptUnsupported(ValueError):
    """A script cannot do what the run does; the message says why, and what can."""


@dataclass(frozen=True, slots=True)
class ScriptPlan:
    """`inputs`, `outputs`, `task` and `batch` are the signature's; `feeds` maps each input, or the name of a place of
    one, to a column (a list fills a vector by position). `api_url` is without `/api/v1`."""

    against: Against
    model: str
    version: str
    model_format: Literal["onnx", "pmml"]
    task: str
    inputs: Sequence[Mapping[str, Json]]
    outputs: Sequence[Mapping[str, Json]]
    feeds: Mapping[str, str | Sequence[str]]
    batch: str = "stack"
    columns: Sequence[str] = ()  # of the input, where its file does not name them
    service: str = ""
    api_url: str = "http://127.0.0.1:8000"
    model_file: str = "model.onnx"
    input_file: str = "input.csv"
    input_format: InputFormat = "csv"
    input_compression: Literal["gzip", "zstd"] | None = None
    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    has_header: bool = True
    null_values: Sequence[str] = ("",)
    pass_through: Sequence[str] = ()
    output_file: str = "output.csv"
    output_format: FileFormat = "csv"
    most_bad: int | None = None  # rows; None: any number is left out
    chunk_rows: int = 4096
    args: Sequence[str] = field(default_factory=tuple)  # beside the script's own, told in its head
