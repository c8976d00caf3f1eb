"""Rolls services that follow a reference on to the version that it means now: one reference, many services.

A version that does not become ready is taken back as with any update, and not tried again until the reference moves.
"""

import logging
from collections.abc import Sequence

from core.errors import Conflict, NotFound, Rejected
from core.secrets import SecretUnreadable, Vault
from state.advance import lock
from state.database import WriteSession
from state.deploying import change_service
from state.operations import Who
from state.queries.following import Late, behind
from state.releases import UpgradeUnderWay
from state.runtimes import RuntimesUnknown
from state.switches import read_switches
from state.tables import Service
from state.wishes import Wish

log = logging.getLogger(__name__)

AT_ONCE = 20  # services that roll in the transaction that moves an alias; a caretaker sees to the others


async def roll_on(session: WriteSession, who: Who, vault: Vault, services: Sequence[Service]) -> None:
    """Let locked services run what their references mean now, if that is not what they were given last.

    While deployments are switched off nothing happens, which a caretaker makes up for.
    """
    if not services or "deploys" in await read_switches(session):
        return
    for service_id in [service.id for service in services]:
        for late in await behind(session, service_id):
            await _give(session, who, vault, late)


async def _give(session: WriteSession, who: Who, vault: Vault, late: Late) -> None:
    """One that cannot run the version holds up neither the others nor the alias that means it now."""
    try:
        async with session.part():
            service = await lock(session, Service, late.service_id)
            await change_service(session, who, vault, service, Wish(version=service.version_ref))
    except (RuntimesUnknown, UpgradeUnderWay) as error:  # a caretaker asks again
        log.info("service %s does not follow yet: %s", late.service_id, error)
    except (Rejected, Conflict, NotFound, SecretUnreadable) as error:
        service = await lock(session, Service, late.service_id)
        service.followed_id = late.version_id  # as with a failed update: not again until the reference moves
        log.warning("service %s stays with what it runs: it cannot run what it follows: %s", service.id, error)
