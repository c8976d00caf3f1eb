"""`python -m benchmarks.sender PORT MODEL MIB raw|form`: uploads a large model as fast as the platform takes it.

Prints one JSON object: the operation's id and the seconds that the upload took. A process of its own.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.large import model_pieces, model_size
from benchmarks.platform import MIB, ROOT, Broken, Platform
from benchmarks.wire import Connection

BOUNDARY = "portside-benchmark"
FORM_HEAD = (
    f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="large.onnx"\r\n'
    f"content-type: application/octet-stream\r\n\r\n"
).encode()
FORM_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


def send(port: int, model: str, size_bytes: int, *, as_form: bool) -> None:
    """Send one upload and print how it went."""
    before, after = (FORM_HEAD, FORM_TAIL) if as_form else (b"", b"")
    kind = f"multipart/form-data; boundary={BOUNDARY}" if as_form else "application/octet-stream"
    length = len(before) + model_size(size_bytes) + len(after)
    head = f"POST /api/v1/models/{model}/versions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    head += f"content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    with Connection(("127.0.0.1", port)) as connection:
        began = time.perf_counter()
        connection.socket.sendall(head.encode() + before)
        for piece in model_pieces(size_bytes):
            connection.socket.sendall(piece)
        connection.socket.sendall(after)
        answer = connection.answer()
        took_s = time.perf_counter() - began
    if answer.status != 202:
        sys.exit(f"the upload was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
    print(json.dumps({"operation": answer.document["id"], "seconds": took_s}))


@dataclass(frozen=True, slots=True)
class Sent:
    """An upload that was accepted."""

    operation: str
    seconds: float


def send_from_afar(platform: Platform, model: str, size_bytes: int, *, as_form: bool) -> Sent:
    """Upload from a process of its own. Raises `Broken`."""
    words = [str(platform.address[1]), model, str(size_bytes // MIB), "form" if as_form else "raw"]
    command = [sys.executable, "-m", "benchmarks.sender", *words]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Broken(f"the upload of {size_bytes // MIB} MiB failed")
    return Sent(**json.loads(done.stdout))


if __name__ == "__main__":
    send(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) * MIB, as_form=sys.argv[4] == "form")
