"""A tiny program in the model server's place: it answers /readyz on a unix socket and ends as its variables say.

Standard library only and little of it, so that it starts in some 20 ms. MODE: refuse, crash, deaf, stubborn, hungry;
while the file SWITCH exists it answers 503, while the file CRASHES exists it crashes.
"""

import json
import os
import signal
import socket
import sys
import threading


def end_with_parent(fd: int) -> None:
    """What the real one does too."""
    while os.read(fd, 512):
        pass
    os._exit(0)


def serve(path: str, is_deaf: bool) -> None:
    """One connection after the other; a model server would answer predictions as well."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            switched_off = is_deaf or os.path.exists(os.environ.get("SWITCH", ""))  # noqa: PTH110 (pathlib costs 15 ms)
            status = b"503 Service Unavailable" if switched_off else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


def main() -> None:
    """Behave as MODE says."""
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    mode = os.environ.get("MODE", "")
    print(json.dumps({"arguments": given, "environment": dict(os.environ), "folder": os.getcwd()}), flush=True)  # noqa: PTH109 (likewise)
    if mode == "refuse":
        print(json.dumps({"code": "opset_too_new", "message": "opset 99 is too new", "hint": "export again"}))
        sys.exit(65)
    if mode == "crash" or os.path.exists(os.environ.get("CRASHES", "")):  # noqa: PTH110 (likewise)
        print("line before the end", flush=True)
        sys.exit(3)
    if mode == "hungry":
        raise MemoryError
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        threading.Thread(target=end_with_parent, args=(int(given["--parent-fd"]),), daemon=True).start()
    serve(given["--socket"], mode == "deaf")


if __name__ == "__main__":
    main()
