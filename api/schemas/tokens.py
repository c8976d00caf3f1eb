"""Tokens and who asks: what a request may say and how they are shown."""

from typing import Annotated

from pydantic import Field

from api.schemas.base import Answer, Body, Instant, shown_as
from api.schemas.webhooks import Time
from core.errors import Json
from state.documents import instant
from state.tables import Token


class TokenCreate(Body):
    """A new token of the user who asks."""

    model_config = shown_as({"name": "pipeline", "expires_at": "2036-12-31T23:59:59Z"})

    name: Annotated[str, Field(min_length=1, max_length=120)]
    expires_at: Time | None = None


class TokenShown(Answer):
    """A token; `token`, its secret text, is there only in the answer that made it."""

    id: str
    name: str
    created_at: Instant
    expires_at: Instant | None
    token: str | None = None


class TokenPage(Answer):
    """One page of tokens."""

    items: list[TokenShown]
    next_page_token: str | None
    total: int | None = None


class Me(Answer):
    """Who asks."""

    user: str
    role: str
    tenant: str


def token_document(row: Token) -> dict[str, Json]:
    """The token object, without its text, which nobody can read back."""
    return {
        "id": row.id,
        "name": row.name,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at),
    }
