"""A real MinIO, the S3 server of the stack: one drive, one bucket, keys made for each server.

A folder that lies on the drive when it starts is a bucket: so the bucket is there without a client.
"""

import os
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from deploy.stack.child import Child, StackFailed, free_port
from deploy.stack.parts import minio

BUCKET = "portside"
REGION = "us-east-1"
READY_S = 60.0
STOP_S = 10.0


class MinioServer:
    """One server on 127.0.0.1, in a folder of its own."""

    def __init__(self, folder: Path, port: int, access_key: str, secret_key: str) -> None:
        self._program, self._drive, self._log = minio(), folder / "drive", folder / "minio.log"
        self._home = folder / "home"
        self.port, self.access_key, self.secret_key = port, access_key, secret_key
        self._child: Child | None = None

    @classmethod
    def start(
        cls, folder: Path, port: int | None = None, *, access_key: str | None = None, secret_key: str | None = None
    ) -> Self:
        """A server that answers, with what the folder has from before. Raises `StackFailed`."""
        keys = access_key or secrets.token_hex(10), secret_key or secrets.token_hex(20)
        server = cls(folder, port or free_port(), *keys)
        (server._drive / BUCKET).mkdir(parents=True, exist_ok=True)
        server.restart()
        return server

    @property
    def endpoint(self) -> str:
        """Where it listens, for PORTSIDE_S3_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The bucket, for PORTSIDE_ARTIFACTS_URL."""
        return f"s3://{BUCKET}"

    @property
    def environment(self) -> dict[str, str]:
        """All settings by which Portside keeps its artifacts here."""
        return {
            "PORTSIDE_ARTIFACTS_URL": self.url,
            "PORTSIDE_S3_ENDPOINT": self.endpoint,
            "PORTSIDE_S3_REGION": REGION,
            "PORTSIDE_S3_ACCESS_KEY": self.access_key,
            "PORTSIDE_S3_SECRET_KEY": self.secret_key,
        }

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    def restart(self) -> None:
        """Start it again on the same port and data, after `stop`, `kill` or a crash."""
        if self._child is not None:
            self.stop()
        address = f"127.0.0.1:{self.port}"
        command = [str(self._program), "server", "--quiet", "--address", address, str(self._drive)]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._home),  # else it looks for certificates in ours
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",  # it would ask the internet for a newer one
            "MINIO_CALLHOME_ENABLE": "off",
        }
        self._child = Child.start(command, self._log, environment=environment)
        self._child.await_ready(self._is_ready, READY_S, "MinIO")

    def stop(self) -> None:
        """Let requests finish, then end it."""
        self._running().stop(STOP_S)

    def kill(self) -> None:
        """SIGKILL."""
        self._running().kill()

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the system and nobody answers."""
        self._running().pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._running().resume()

    def _running(self) -> Child:
        if self._child is None:
            raise StackFailed("MinIO was not started: use MinioServer.start")
        return self._child

    def _is_ready(self) -> bool:
        """Whether it can write: `live` comes earlier, while the drive is still being opened."""
        try:
            look = f"{self.endpoint}/minio/health/cluster"
            with urllib.request.urlopen(look, timeout=1) as answer:  # noqa: S310 (always http)
                ready: bool = answer.status == 200
                return ready
        except (urllib.error.URLError, OSError):
            return False
