"""A tiny program in the model server's place: it answers /readyz where it is told to and ends as its variables say.

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


def listening(given: "dict[str, str]") -> socket.socket:
    """A unix socket, or the TCP socket that the node has bound."""
    if "--listen-fd" in given:
        listener = socket.socket(fileno=int(given["--listen-fd"]))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(given["--socket"])
    listener.listen(16)
    return listener


def serve(listener: socket.socket, is_deaf: bool) -> None:
    """One connection after the other; a model server would answer predictions as well."""
    token = os.environ.get("PORTSIDE_REPLICA_TOKEN", "")
    while True:
        connection, _ = listener.accept()
        with connection:
            answer(connection, token.encode(), is_deaf)


def answer(connection: socket.socket, token: bytes, is_deaf: bool) -> None:
    """One question; that who asked had no more patience, on a machine with other work, must not be the end of us."""
    try:
        is_known = token in connection.recv(4096)
        switched_off = is_deaf or os.path.exists(os.environ.get("SWITCH", ""))  # noqa: PTH110 (pathlib costs 15 ms)
        status = b"503 Service Unavailable" if switched_off else b"200 OK"
        connection.sendall(
            b"HTTP/1.1 " + (status if is_known else b"401 Unauthorized") + b"\r\nContent-Length: 0\r\n\r\n"
        )
    except OSError as error:
        print(error, flush=True)


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
    serve(listening(given), mode == "deaf")


if __name__ == "__main__":
    main()
