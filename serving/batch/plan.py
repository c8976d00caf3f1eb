"""What a run is to do, as the platform writes it down, and what ends one that cannot be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from serving.data.formats import Format, Position

Policy = Literal["skip", "fail", "limit"]
OutputFormat = Literal["csv", "jsonl", "parquet", "arrow"]

TITLES: Final[Mapping[str, str]] = {
    "dataset_invalid": "The dataset cannot be read",
    "mapping_invalid": "The columns do not fit the model",
    "too_many_bad_rows": "Too many rows are bad",
    "model_refused": "The model cannot be run",
    "out_of_memory": "The memory does not suffice",
    "disk_full": "There is no room on the disk",
    "plan_invalid": "The plan of the run cannot be read",
}


class BatchFailed(Exception):
    """What ends a run for good. `code` is a key of `TITLES`; `more` goes into the problem beside the rest."""

    def __init__(self, code: str, detail: str, hint: str = "", **more: object) -> None:
        super().__init__(detail)
        self.code, self.detail, self.hint, self.more = code, detail, hint, more

    def as_json(self) -> dict[str, object]:
        """The problem that is reported."""
        told: dict[str, object] = {"code": self.code, "title": TITLES[self.code], "detail": self.detail}
        return told | ({"hint": self.hint} if self.hint else {}) | self.more


@dataclass(frozen=True, slots=True)
class Input:
    """The parts of a table, or with `kind: files` a folder and the list of what is taken from it."""

    kind: Literal["table", "files"] = "table"
    files: tuple[Path, ...] = ()
    format: Format | None = None
    root: Path = Path()
    list: Path = Path()


@dataclass(frozen=True, slots=True)
class Output:
    """How the chunks are written. `None` leaves text as it is, and Parquet with its usual compression."""

    format: OutputFormat = "parquet"
    compression: Literal["gzip", "zstd"] | None = None


@dataclass(frozen=True, slots=True)
class OnError:
    """What becomes of a run with bad rows: it leaves them out, ends with the first, or with one more than `limit`."""

    policy: Policy = "skip"
    limit: int | None = None

    @property
    def most(self) -> int | None:
        """How many rows may be bad; `None`: any number."""
        if self.policy == "skip":
            return None
        return 0 if self.policy == "fail" else self.limit or 0


@dataclass(frozen=True, slots=True)
class Version:
    """What the model is called, and its part where it has some."""

    model: str = "model"
    version: str = "1"
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """What the chunks had that were kept before."""

    position: Position
    rows_in: int = 0
    rows_out: int = 0
    bad: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A run. `mapping`: a model's input, or the name of a place of one, and the column that feeds it, or several.

    `rows`: how many the input has, where the platform has counted them.
    """

    input: Input
    output: Output = Output()
    mapping: Mapping[str, str | tuple[str, ...]] | None = None
    pass_through: tuple[str, ...] | Literal["*"] = ()
    on_error: OnError = OnError()
    chunk_rows: int | None = None
    parallelism: int = 1
    version: Version = field(default_factory=Version)
    resume: Resume | None = None
    rows: int | None = None

    @property
    def passes_all(self) -> bool:
        """Whether every column of the input is one of the output."""
        return isinstance(self.pass_through, str)


def read_plan(path: Path) -> Plan:
    """Read a plan. Raises `BatchFailed`."""
    try:
        given = msgspec.json.decode(path.read_bytes())
        plan: Plan = msgspec.convert(given, Plan, dec_hook=_path)
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
        raise BatchFailed("plan_invalid", f"{path.name}: {error}") from error
    if plan.input.kind == "table" and (plan.input.format is None or not plan.input.files):
        raise BatchFailed("plan_invalid", "input names no files, or not what format they have")
    if plan.parallelism < 1 or (plan.chunk_rows is not None and plan.chunk_rows < 1):
        raise BatchFailed("plan_invalid", "parallelism and chunk_rows are at least 1")
    return plan


def _path(kind: type, value: Any) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError
