"""What every resource says of itself, in one place (API.md section 1: status, concurrency, description)."""

from api.headers import etag
from core.errors import Json
from state.datatables import Dataset
from state.documents import instant
from state.jobtables import Job, Run
from state.tables import Model, Service, Version


def about(row: Model | Version | Service | Dataset | Job | Run) -> dict[str, Json]:
    """The members that all resources share, in the order in which they are shown."""
    return {
        "display_name": row.display_name,
        "description": row.description,
        "tags": row.tags,
        "status": str(row.status),
        "reason": row.reason,
        "message": row.message,
        "since": instant(row.since),
        "generation": row.generation,
        "etag": etag(row.edition),
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }
