"""From the compose file's services to processes of this machine: other hosts, ports and paths, and nothing else."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.child import free_port
from deploy.stack.compose import ComposeService
from deploy.stack.process import Recipe

ROLES = ("api", "worker", "node")
MIGRATE = "migrate"
LOOPBACK = "127.0.0.1"
EVERY_ROLE = ""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers answer on this machine."""

    database: str
    broker: str
    store: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How each process is started; `extra` settings go to one role, or to all under `EVERY_ROLE`."""

    services: Mapping[str, ComposeService]
    folder: Path
    addresses: Addresses
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def recipes(self) -> list[Recipe]:
        """One for each replica of each role, on free ports."""
        numbered = [(role, number) for role in ROLES for number in range(1, self.services[role].replicas + 1)]
        return [self._recipe(self.services[role], f"{role}-{number}") for role, number in numbered]

    def migration(self) -> Recipe:
        """The one-shot before them."""
        return self._recipe(self.services[MIGRATE], MIGRATE)

    def _recipe(self, service: ComposeService, name: str) -> Recipe:
        folder, port, figures_port = self.folder / name, str(free_port()), str(free_port())
        here = self._here(folder, port, figures_port)
        settings = {name: here.get(name, value) for name, value in service.environment.items()}
        extra = {**self.extra.get(EVERY_ROLE, {}), **self.extra.get(service.name, {})}
        asked, path = _health_question(service)
        is_api = asked == service.environment.get("PORTSIDE_PORT")
        health = f"http://{LOOPBACK}:{port if is_api else figures_port}{path}"
        figures = f"{LOOPBACK}:{figures_port}"
        return Recipe(name, service.name, service.command, {**settings, **extra}, health, figures, folder)

    def _here(self, folder: Path, port: str, figures_port: str) -> dict[str, str]:
        """What is another on this machine; a test holds every other setting against the compose file."""
        return {
            "PORTSIDE_DATA": str(folder / "data"),
            "PORTSIDE_CACHE": str(self.folder / "cache"),
            "PORTSIDE_DATABASE_URL": self.addresses.database,
            "PORTSIDE_BROKER_URL": self.addresses.broker,
            "PORTSIDE_S3_ENDPOINT": self.addresses.store,
            "PORTSIDE_HOST": LOOPBACK,
            "PORTSIDE_PORT": port,
            "PORTSIDE_GRPC_PORT": "0",  # a free one, which its log tells
            "PORTSIDE_NODE_HOST": LOOPBACK,
            "PORTSIDE_METRICS_HOST": LOOPBACK,
            "PORTSIDE_METRICS_PORT": figures_port,
            "PORTSIDE_SERVING_PYTHON": sys.executable,
        }


def _health_question(service: ComposeService) -> tuple[str, str]:
    """The port and the path that its container's health check asks, such as 8000 and `/readyz`; a one-shot has none."""
    question = service.health[-1] if service.health else ""
    port, slash, path = question.partition(f"{LOOPBACK}:")[2].partition("'")[0].partition("/")
    return port, slash + path
