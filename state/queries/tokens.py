"""Bearer tokens: the snapshot that requests are checked against, and making, listing and revoking them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, select

from core.clock import Micros, now_micros
from core.errors import NotFound
from core.ids import new_id
from state.database import Session, WriteSession
from state.jobtables import LIVE, Run, RunProcess
from state.operations import Who
from state.queries.lists import Page, View, page
from state.queries.rows import nowhere
from state.tables import Token, User

SCRIPT_ROLE = "member"  # of a script's token, whoever began its run


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for."""

    tenant_id: str
    actor: str
    role: str
    expires_at: Micros | None
    run_id: str | None = None  # of the script that has it, and whose life it ends with


async def grants(session: Session) -> Mapping[str, Grant]:
    """Every token that is not revoked, by its hash, and those of the scripts that run now."""
    rows = await session.execute(_living_tokens())
    found = {row.hash: Grant(row.tenant_id, row.name, row.role, row.expires_at) for row in rows}
    for token_hash, tenant_id, job, number, run_id in await session.execute(_living_scripts()):
        found[token_hash] = Grant(tenant_id, f"run:{job}/{number}", SCRIPT_ROLE, None, run_id)
    return found


@cache
def _living_tokens() -> Select[*tuple[Any, ...]]:
    query = select(Token.hash, Token.tenant_id, User.name, User.role, Token.expires_at).join(User)
    return query.where(Token.revoked_at.is_(None))


@cache
def _living_scripts() -> Select[*tuple[Any, ...]]:
    scripts = select(RunProcess.token_hash, RunProcess.tenant_id, Run.job_name, Run.number, Run.id)
    return scripts.join(Run, Run.id == RunProcess.run_id).where(RunProcess.token_hash.is_not(None), LIVE)


async def user_of(session: Session, who: Who) -> User:
    """The user that makes this request. Raises `NotFound`."""
    query = select(User).where(User.tenant_id == who.tenant_id, User.name == who.actor)
    user = (await session.execute(query)).scalar_one_or_none()
    if user is None:
        raise NotFound(f"no user is named '{who.actor}'")
    return user


async def add(session: WriteSession, who: Who, name: str, token_hash: str, expires_at: Micros | None) -> Token:
    """Store the hash of a new token of the user who asks."""
    user = await user_of(session, who)
    token = Token(
        id=new_id("tok"),
        tenant_id=who.tenant_id,
        created_at=now_micros(),
        user_id=user.id,
        name=name,
        hash=token_hash,
        expires_at=expires_at,
    )
    session.add(token)
    await session.flush()
    session.tell("changed", "token", token.id)
    return token


async def listing(session: Session, tenant_id: str, view: View) -> Page[Token]:
    """The tenant's tokens that are not revoked."""
    base = select(Token).where(Token.tenant_id == tenant_id, Token.revoked_at.is_(None))
    return await page(session, base, Token, view)


async def find(session: Session, tenant_id: str, token_id: str) -> Token:
    """The tenant's token. Raises `NotFound`, also when it is revoked."""
    query = select(Token).where(Token.id == token_id, Token.tenant_id == tenant_id, Token.revoked_at.is_(None))
    token = (await session.execute(query)).scalar_one_or_none()
    if token is None:
        raise nowhere("token", token_id)
    return token


async def revoke(session: WriteSession, tenant_id: str, token_id: str) -> Token:
    """End a token now; every process knows within seconds. Raises `NotFound`."""
    token = await find(session, tenant_id, token_id)
    token.revoked_at = now_micros()
    session.tell("changed", "token", token.id)
    return token
