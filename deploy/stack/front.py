"""The one address before the API processes: haproxy with deploy/proxy/haproxy.cfg where installed, else a stand-in."""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from deploy.stack.child import Child, free_port
from deploy.stack.process import ROOT, answers

CONFIGURATION = ROOT / "deploy" / "proxy" / "haproxy.cfg"
READY_S = 60.0
STOP_S = 2.0
# The lines that name containers; everything else stays as it is.
BIND = re.compile(r"^    bind :8000$", re.MULTILINE)
GRPC = "\n# gRPC: "  # where its part begins, for which there is no place in the stack
SERVERS = re.compile(r"^    server-template api .*$", re.MULTILINE)


class Front:
    """The proxy's process."""

    def __init__(self, child: Child, port: int, kind: str) -> None:
        self._child, self.port, self.kind = child, port, kind

    @classmethod
    def start(cls, folder: Path, addresses: Sequence[str], port: int | None = None) -> Self:
        """A proxy before these `host:port`s that answers; they must be ready. Raises `StackFailed`."""
        folder.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        if haproxy := shutil.which("haproxy"):
            file = folder / "haproxy.cfg"
            file.write_text(configuration(port, addresses), "utf-8")
            command, kind = [haproxy, "-db", "-f", str(file)], "haproxy"
        else:
            command, kind = (
                [sys.executable, "-m", "deploy.stack.forwarder", str(port), *addresses],
                "a stand-in for haproxy",
            )
        child = Child.start(command, folder / "proxy.log", folder=ROOT)
        child.await_ready(lambda: answers(f"http://127.0.0.1:{port}/healthz"), READY_S, kind)
        return cls(child, port, kind)

    @property
    def url(self) -> str:
        """What clients call."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def stop(self) -> None:
        """End it; open connections are cut."""
        self._child.stop(STOP_S)


def configuration(port: int, addresses: Sequence[str]) -> str:
    """The compose file's own configuration, with this machine's addresses."""
    servers = "\n".join(f"    server api{number} {address}" for number, address in enumerate(addresses, 1))
    text, binds = BIND.subn(f"    bind 127.0.0.1:{port}", CONFIGURATION.read_text("utf-8").partition(GRPC)[0])
    text, templates = SERVERS.subn(servers, text)
    if (binds, templates) != (1, 1):
        raise ValueError(
            f"{CONFIGURATION} has {binds} lines like {BIND.pattern} and {templates} like {SERVERS.pattern}"
        )
    return text
