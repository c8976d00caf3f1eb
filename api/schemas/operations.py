"""How an operation is shown (API.md section 2)."""

from typing import Any, Literal

from pydantic import Field

from api.links import Links, target_path
from api.schemas.base import Answer, Instant
from core.errors import Json
from state.documents import instant
from state.tables import Operation

FINAL = ("succeeded", "failed", "canceled")
ENDS_ITS_TARGET = ("delete", "revoke")


class TargetShown(Answer):
    """What an operation works on."""

    type: str
    id: str
    name: str
    url: str | None
    generation: int
    model: str | None = Field(None, description="Of a version: the name of its model.")


class ProgressShown(Answer):
    """How far the work is."""

    percent: float
    stage: str
    detail: str | None


class OperationShown(Answer):
    """The operation object; when it is done, exactly one of `error` (a problem) and `result` is set."""

    id: str
    kind: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled"]
    done: bool
    target: TargetShown
    attempt: int
    progress: ProgressShown
    waiting_for: str | None
    created_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    cancel_requested: bool
    superseded_by: str | None
    created_by: str
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    resource_location: str | None = Field(
        alias="resourceLocation",
        description="Where what it made or changed is read once it has succeeded: azure-core's pollers end with that.",
    )


class OperationPage(Answer):
    """One page of operations."""

    items: list[OperationShown]
    next_page_token: str | None
    total: int | None = None


def operation_document(row: Operation, links: Links) -> dict[str, Json]:
    """The operation object; when it is done, exactly one of `error` and `result` is set."""
    path = target_path(row)
    target: dict[str, Json] = {
        "type": row.target_type,
        "id": row.target_id,
        "name": row.target_name,
        "url": None if path is None else links.to(path),
        "generation": row.generation,
    }
    if row.target_type == "version":
        target["model"] = row.arguments.get("model")
    return {
        "id": row.id,
        "kind": row.kind,
        "status": str(row.status),
        "done": row.status in FINAL,
        "target": target,
        "attempt": row.attempt,
        "progress": _progress(row),
        "waiting_for": row.waiting_for,
        "created_at": instant(row.created_at),
        "started_at": instant(row.started_at),
        "completed_at": instant(row.completed_at),
        "cancel_requested": row.cancel_requested,
        "superseded_by": row.superseded_by,
        "created_by": row.actor,
        "error": _error(row) if row.status in ("failed", "canceled") else None,
        "result": (row.result or {}) if row.status == "succeeded" else None,
        "resourceLocation": target["url"] if _is_shown_by_its_target(row) else None,
    }


def _error(row: Operation) -> dict[str, Any]:
    """The problem, its detail also under the name that OData has for it: azure-core's exceptions say that."""
    problem = row.error or {}
    return {**problem, "message": problem.get("detail")}


def _is_shown_by_its_target(row: Operation) -> bool:
    """Whether a GET of the target shows what has come of the operation; a result of its own is in the operation."""
    verb = row.kind.rpartition(".")[2]
    return row.status == "succeeded" and not row.result and verb not in ENDS_ITS_TARGET


def _progress(row: Operation) -> dict[str, Any]:
    shown = {"percent": 0, "stage": str(row.status), "detail": None, **(row.progress or {})}
    return {**shown, "percent": 100, "stage": "succeeded"} if row.status == "succeeded" else shown
