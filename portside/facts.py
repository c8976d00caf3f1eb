"""What a resource is: the documented fields, typed, as they were when the platform was asked; all the rest in `raw`.

Snapshots: nothing here changes, `reload()` and `wait()` of what users hold answer new ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Self

from portside.messages import Document, Json
from portside.requests import path_to
from portside.session import Session
from portside.waiting import FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`raw` is the whole document of the API."""

    raw: Document = field(repr=False)
    _session: Session = field(repr=False, compare=False)

    @classmethod
    def read(cls, session: Session, document: Document, **own: str | None) -> Self:
        """What the document says; a field that this platform does not know is None. `own` are fields of ours."""
        told = [each.name for each in fields(cls) if each.name != "raw" and not each.name.startswith("_")]
        said = {name: _value(name, document.get(name)) for name in told}
        return cls(raw=document, _session=session, **said, **own)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts(Facts):
    """A model; `versions` counts them, `aliases` are the versions that names stand for."""

    id: str
    name: str
    display_name: str | None
    description: str | None
    tags: Sequence[str]
    status: str
    versions: int
    aliases: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    url: str

    @property
    def latest(self) -> str | None:
        """Its newest ready version."""
        newest: Document | None = self.raw.get("latest")
        return None if newest is None else str(newest["version"])


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts(Facts):
    """One upload. What the inspection finds (`inputs`, `outputs`, `sample`, …) is None until it is `ready`.

    `parts` are the models of an archive, each with its `key`; None where the version is one model.
    """

    id: str
    model: str
    version: str
    status: str
    reason: str | None
    message: str | None
    description: str | None
    tags: Sequence[str]
    aliases: Sequence[str]
    digest: str
    size_bytes: int
    filename: str | None
    format: str
    task: str | None
    inputs: Sequence[Document] | None
    outputs: Sequence[Document] | None
    sample: Json
    parts: Sequence[Document] | None
    metrics: Document | None
    created_at: datetime
    url: str
    # The operation that made it so, where nobody has waited for it yet.
    _operation_id: str | None = field(default=None, repr=False, compare=False)

    @property
    def _path(self) -> str:
        return path_to("models", self.model, "versions", self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts(Facts):
    """A service: what is wanted of it (`model`, `version`, `replicas`) and how it is (`status`, `ready_replicas`)."""

    id: str
    name: str
    display_name: str | None
    description: str | None
    tags: Sequence[str]
    status: str
    reason: str | None
    message: str | None
    since: datetime
    model: str | None
    version: str | None
    revision: int | None
    replicas: int
    ready_replicas: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    url: str
    # The operation that made it so, where nobody has waited for it yet.
    _operation_id: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts(Facts):
    """Named data. What is found in them (`rows`, `columns`, …) is None until it is `ready`.

    Of the kind `table` or `files`; a `reference` has its data at `source_uri` and nowhere else.
    """

    id: str
    name: str
    display_name: str | None
    description: str | None
    tags: Sequence[str]
    status: str
    reason: str | None
    message: str | None
    since: datetime
    kind: str
    source_uri: str | None
    reference: bool
    digest: str | None
    size_bytes: int | None
    format: str | None
    rows: int | None
    rows_are_estimated: bool
    columns: Sequence[Document] | None
    warnings: Sequence[str]
    files: int | None
    created_at: datetime
    updated_at: datetime
    url: str
    # The operation that makes it, where nobody has waited for it yet.
    _operation_id: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFacts(Facts):
    """One durable unit of work; when it is `done`, exactly one of `error` (a problem) and `result` is there."""

    id: str
    kind: str
    status: str
    done: bool
    target: Document
    attempt: int
    progress: Document
    waiting_for: str | None
    superseded_by: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error: Document | None
    result: Document | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts(Facts):
    """A job: what its runs go by (`model`, `input`, `output`, …; the rest of it is in `raw`), and its last run."""

    id: str
    name: str
    kind: str
    display_name: str | None
    description: str | None
    tags: Sequence[str]
    status: str
    model: str
    version: str
    input: Document
    output: Document
    after: str | None
    last_run: Document | None
    live_runs: int
    created_at: datetime
    updated_at: datetime
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts(Facts):
    """One execution of a job: how far it is (`progress`), what it counted, and the datasets that it made."""

    id: str
    job: str
    number: int
    name: str
    kind: str
    status: str
    reason: str | None
    message: str | None
    since: datetime
    trigger: str
    progress: Document
    rows_in: int
    rows_out: int
    bad: int
    model: str | None
    version: str | None
    input: str | None
    output: Document | None
    bad_rows: Document | None
    error: Document | None
    retries: int
    duration_s: float
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status in ("succeeded", "failed", "stopped")

    @property
    def _path(self) -> str:
        return path_to("jobs", self.job, "runs", self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFacts(Facts):
    """One durable prediction; `error` is a sentence, `problem` the whole of it, `metrics` are seconds."""

    id: str
    status: str
    service: str
    model: str
    version: str
    part: str | None
    input: Json
    output: Json
    error: str | None
    problem: Document | None
    metrics: Mapping[str, float]
    webhook: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def is_final(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status in FINAL


def _value(name: str, said: Json) -> Json:
    if isinstance(said, str) and (name.endswith("_at") or name == "since"):
        return datetime.fromisoformat(said)
    if name in ("tags", "aliases") and isinstance(said, list):
        return tuple(said)
    return said
