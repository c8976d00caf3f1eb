"""Two real S3 servers for tests, MinIO and rclone's: they differ where servers do, in how they list and report."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.child import Child, accepts, free_port
from deploy.stack.minio import BUCKET, REGION, MinioServer
from storage.access import Patience, S3Access

# A test that waits for a server that does not answer should not wait long; any other is not about the speed of a disk,
# and what a server had begun for somebody who then hung up may be in the way of a second try.
HASTY = Patience(connect_s=2, read_s=0.5, repeats=1, reconnects=1)
STEADY = Patience(connect_s=10, read_s=60.0, repeats=1, reconnects=1)
# Where trouble is over in the end: on a busy machine a server needs longer to start than the patience of the product.
PATIENT = Patience(connect_s=10, read_s=60.0, repeats=30, reconnects=30)


@dataclass(frozen=True)
class S3Server:
    """Where a bucket is; `folder` is where rclone keeps its objects as files."""

    bucket: str
    access: S3Access

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which another process finds it."""
        return {
            "PORTSIDE_S3_ENDPOINT": self.access.endpoint,
            "PORTSIDE_S3_REGION": self.access.region,
            "PORTSIDE_S3_ACCESS_KEY": self.access.access_key,
            "PORTSIDE_S3_SECRET_KEY": self.access.secret_key,
        }


def access_of(server: MinioServer, port: int | None = None) -> S3Access:
    """The way to MinIO, or to a proxy before it."""
    endpoint = f"http://127.0.0.1:{port or server.port}"
    return S3Access(endpoint, REGION, server.access_key, server.secret_key)


@contextmanager
def running_minio(folder: Path) -> Iterator[MinioServer]:
    """MinIO, until the block ends."""
    server = MinioServer.start(folder)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_rclone(folder: Path) -> Iterator[S3Server]:
    """`rclone serve s3` over a folder: objects are files there, and errors are `text/xml`."""
    (folder / "drive" / BUCKET).mkdir(parents=True)
    access_key, secret_key, port = secrets.token_hex(10), secrets.token_hex(20), free_port()
    program = Path(sys.executable).parent / "rclone"
    options = ["--auth-key", f"{access_key},{secret_key}", "--addr", f"127.0.0.1:{port}", "--config", ""]
    child = Child.start([str(program), "serve", "s3", *options, str(folder / "drive")], folder / "rclone.log")
    try:
        child.await_ready(lambda: accepts(port), 60, "rclone")
        yield S3Server(BUCKET, S3Access(f"http://127.0.0.1:{port}", REGION, access_key, secret_key))
    finally:
        child.kill()
