"""Models: what a request may say and how a row is shown."""

from typing import Annotated

from fastapi import Path

from api.links import Links
from api.schemas.base import NAME, Answer, Body, Description, DisplayName, Instant, Name, Tags, shown_as
from api.schemas.resource import about
from api.schemas.versions import SourceFields
from core.errors import FieldProblem, InvalidField, Json
from state.queries.models import ModelSummary
from state.tables import Model


class ModelCreate(Body):
    """An empty model; upload versions to it."""

    model_config = shown_as({"name": "churn", "display_name": "Customer churn", "tags": ["marketing"]})

    name: Name
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None


class ModelFromSource(SourceFields):
    """A model with its version 1, whose file is fetched from a URL."""

    model_config = shown_as({"name": "churn", "source_uri": "https://models.example.com/churn-7.onnx"})

    name: Name


class ModelPatch(Body):
    """A merge patch (RFC 7396); null removes."""

    model_config = shown_as({"description": "Trained each Monday on the year before.", "tags": None})

    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None


class LatestShown(Answer):
    """A version in short."""

    version: str
    url: str


class ModelShown(Answer):
    """A model. `latest` is its newest ready version, `newest` the one that was uploaded last."""

    id: str
    name: str
    display_name: str | None
    description: str | None
    tags: list[str]
    status: str
    reason: str | None
    message: str | None
    since: Instant
    generation: int
    etag: str
    created_at: Instant
    updated_at: Instant
    url: str
    versions: int
    latest: LatestShown | None
    newest: LatestShown | None
    aliases: dict[str, str]


class ModelPage(Answer):
    """One page of models."""

    items: list[ModelShown]
    next_page_token: str | None
    total: int | None = None


class ModelDeletion(Answer):
    """What a dry run says: the services that would be deleted, and how many versions."""

    dry_run: bool
    services: list[str]
    versions: int


def model_document(row: Model, summary: ModelSummary, links: Links) -> dict[str, Json]:
    """The model object."""
    url = links.to(f"/api/v1/models/{row.name}")

    def short(number: int | None) -> Json:
        return None if number is None else {"version": str(number), "url": f"{url}/versions/{number}"}

    return {
        "id": row.id,
        "name": row.name,
        **about(row),
        "url": url,
        "versions": summary.count,
        "latest": short(summary.latest),
        "newest": short(summary.newest),
        "aliases": {name: str(number) for name, number in summary.aliases.items()},
    }


# What is in a path and may name something new; `require_name` refuses what is none.
NewName = Annotated[str, Path(json_schema_extra={"pattern": f"^{NAME.pattern}$"})]


def require_name(given: str, pointer: str, noun: str) -> None:
    """Raises `InvalidField` unless a name from the path may name something new."""
    if NAME.fullmatch(given) is None:
        detail = (
            f"'{given[:60]}' cannot name {noun}: a name is 1 to 48 characters, lower-case letters, digits and '-', "
            "a letter first and no '-' at the end"
        )
        raise InvalidField(detail, fields=[FieldProblem(pointer, detail)])
