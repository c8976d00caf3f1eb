"""Whether a service may have the port that a request asks for."""

from core.errors import FieldProblem, InvalidField
from core.settings import Settings


def check_port(wanted: int | str | None, settings: Settings) -> range:
    """The ports that services may have. Raises `InvalidField` for another one."""
    ports = settings.port_range
    if wanted is not None and not ports:
        detail = "services have no ports of their own here: PORTSIDE_SERVICE_PORTS is empty"
        raise InvalidField(detail, fields=[FieldProblem("/port", detail, "leave port out")])
    if isinstance(wanted, int) and wanted not in ports:
        detail = f"port {wanted} is outside the range that services may use"
        hint = f"use one from {ports[0]} to {ports[-1]}, or 'auto'"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/port", detail, hint)])
    return ports
