"""Rolls services that follow a reference on to the version that it means now: one reference, many services.

A version that does not become ready is taken back as with any update, and not tried again until the reference moves.
"""

from collections.abc import Sequence

from core.secrets import Vault
from state.database import WriteSession
from state.deploying import change_service
from state.operations import Who
from state.queries.following import behind
from state.switches import read_switches
from state.tables import Service
from state.wishes import Wish

AT_ONCE = 20  # services that roll in the transaction that moves an alias; a caretaker sees to the others


async def roll_on(session: WriteSession, who: Who, vault: Vault, services: Sequence[Service]) -> None:
    """Let locked services run what their references mean now, if that is not what they were given last.

    While deployments are switched off nothing happens, which a caretaker makes up for.
    """
    if not services or "deploys" in await read_switches(session):
        return
    for service in services:
        if await behind(session, service.id):
            await change_service(session, who, vault, service, Wish(version=service.version_ref))
