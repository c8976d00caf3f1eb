"""What scripts report and leave: the bodies of reports, and how figures and artifacts are shown."""

from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from api.links import Links
from api.schemas.base import Answer, Body, Instant, one_of, shown_as
from core.errors import Json
from state.documents import instant
from state.jobtables import Run, RunArtifact, RunReport

MOST_VALUES = 100


class ReportCreate(Body):
    """One report: figures with a step (`type` metrics), or how far the script is (`type` progress)."""

    model_config = shown_as(
        {"type": "metrics", "step": 3, "values": {"loss": 0.21}},
        {"type": "progress", "percent": 40, "detail": "epoch 4"},
    )

    type: Annotated[str, Field(pattern=one_of("metrics", "progress"))] = "metrics"
    step: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = None
    values: Annotated[dict[str, Any], Field(description="Numbers, text, true, false or null by name.")] | None = None
    percent: Annotated[float, Field(ge=0, le=100, strict=False)] | None = None
    detail: Annotated[str, Field(max_length=1000)] | None = None


class ReportShown(Answer):
    """Figures that were reported at once; `sequence` numbers them in the order in which they came."""

    sequence: int
    at: Instant
    step: int | None
    values: dict[str, Any]


class KeptShown(Answer):
    """How many reports were kept: none where the run has reported as much as is kept of one."""

    kept: int


class ArtifactShown(Answer):
    """A file that a script left in its output folder."""

    path: str
    size_bytes: int
    digest: str
    created_at: Instant
    url: str


class ArtifactList(Answer):
    """Files in the order of their paths."""

    items: list[ArtifactShown]
    next_page_token: str | None


def report_document(row: RunReport) -> dict[str, Json]:
    """One report."""
    return {"sequence": row.sequence, "at": instant(row.at), "step": row.step, "values": dict(row.values)}


def artifact_document(row: RunArtifact, run: Run, links: Links) -> dict[str, Json]:
    """One file."""
    where = f"/api/v1/jobs/{run.job_name}/runs/{run.number}/artifacts/{quote(row.path)}"
    return {
        "path": row.path,
        "size_bytes": row.size_bytes,
        "digest": row.digest,
        "created_at": instant(row.created_at),
        "url": links.to(where),
    }
