"""How the changes of a resource's status are described; they are shown by `api.streams`."""

from pydantic import Field

from api.schemas.base import Answer, Instant


class ChangeShown(Answer):
    """One change of a status: from which to which, by which move, who, why and by which operation."""

    sequence: int
    from_status: str | None = Field(alias="from")
    to: str
    move: str
    actor: str
    reason: str | None
    message: str | None
    operation: str | None
    at: Instant


class HistoryPage(Answer):
    """One page of changes."""

    items: list[ChangeShown]
    next_page_token: str | None
    total: int | None = None
