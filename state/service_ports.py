"""The port that a service has for itself: chosen in the transaction that asks for it, and its own until it is deleted.

No two services of the installation have the same one, whatever their tenants.
"""

from collections.abc import Container, Sequence

from sqlalchemy import select

from core.errors import Conflict, FieldProblem
from state.database import WriteSession
from state.history import raise_routing_version
from state.tables import Service

AUTO = "auto"
MAY_CHOOSE = 'use another one, or "auto"'


class PortTaken(Conflict):
    """Another service of the installation has this port."""

    code, title = "port_taken", "The port is taken"


class NoFreePort(Conflict):
    """Each port of the installation's range has its service."""

    code, title = "no_free_port", "No port is free"


async def take_port(session: WriteSession, service: Service, wanted: int | str | None, ports: Sequence[int]) -> None:
    """Give a locked service this port, with `auto` the one it has or the lowest free one of `ports`, or none.

    Raises `PortTaken` with the service that has it, and `NoFreePort`.
    """
    if wanted == service.port or (wanted == AUTO and service.port is not None):
        return
    await raise_routing_version(session)  # also holds up others who choose: they see what was chosen here
    if wanted is None:
        service.port = None
    else:
        query = select(Service.port, Service).where(Service.port.is_not(None), Service.status != "deleted")
        holders = {port: holder for port, holder in await session.execute(query) if port is not None}
        service.port = _lowest(ports, holders) if wanted == AUTO else int(wanted)
        if service.port in holders:
            raise _taken(service, service.port, holders[service.port])
    await session.flush()


def _lowest(ports: Sequence[int], held: Container[int]) -> int:
    free = next((port for port in ports if port not in held), None)
    if free is None:
        detail = "each port of PORTSIDE_SERVICE_PORTS has its service; widen the range, or take a port from a service"
        raise NoFreePort(detail, fields=[FieldProblem("/port", detail)])
    return free


def _taken(service: Service, port: int, holder: Service) -> PortTaken:
    if holder.tenant_id != service.tenant_id:  # whose it is, is not told
        detail = f"port {port} belongs to another tenant"
        return PortTaken(f"{detail}; {MAY_CHOOSE}", fields=[FieldProblem("/port", detail, MAY_CHOOSE)])
    detail = f"port {port} belongs to service '{holder.name}'"
    where = f"/api/v1/services/{holder.name}"
    return PortTaken(f"{detail}; {MAY_CHOOSE}", fields=[FieldProblem("/port", detail, MAY_CHOOSE)], holder=where)
