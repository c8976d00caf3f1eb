"""Whether a service may have the port that a request asks for."""

from collections.abc import Sequence

from core.errors import FieldProblem, InvalidField
from core.settings import Settings


def check_port(wanted: int | str | None, settings: Settings) -> Sequence[int]:
    """The ports that services may have, which are not the platform's own. Raises `InvalidField` for another one."""
    own = (settings.port, settings.metrics_port)
    ports = [port for port in settings.port_range if port not in own]
    if wanted is not None and not ports:
        detail = "services have no ports of their own here: PORTSIDE_SERVICE_PORTS is empty"
        raise InvalidField(detail, fields=[FieldProblem("/port", detail, "leave port out")])
    if isinstance(wanted, int) and wanted not in ports:
        detail = f"port {wanted} is none of those that services may use"
        hint = f"use one from {ports[0]} to {ports[-1]}, or 'auto'"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/port", detail, hint)])
    return ports
