"""In the model server's place for the sample of a campaign: it starts in 20 ms, and knows the answers of one model.

`FOLDER -P -m serving …` as the interpreter's arguments. What it says of a model, and of itself, the real one said
before: `inspect.json` and `runtimes.json` in FOLDER. Standard library only and little of it.
"""

import json
import os
import signal
import socket
import sys
import threading
from io import BufferedReader


def end_with_parent(fd: int) -> None:
    """What the real one does too."""
    while os.read(fd, 512):
        pass
    os._exit(0)


def answer(head: bytes, body: bytes, told: "list[object]") -> bytes:
    """To a GET that it is ready; to a question the answers of the example's records, one for each record."""
    said = b"{}"
    if head.startswith(b"POST"):
        inputs = json.loads(body)["inputs"]
        many = [told[at % len(told)] for at in range(len(inputs))] if isinstance(inputs, list) else told[0]
        said = json.dumps({"outputs": many}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)


def read_head(reader: BufferedReader) -> bytes:
    """All lines of a request's head; nothing where the other end has enough."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = reader.readline()
        if not line:
            return b""
        head += line
    return head


def talk(connection: socket.socket, told: "list[object]") -> None:
    """One request after the other."""
    with connection, connection.makefile("rb") as reader:
        while head := read_head(reader):
            words = head.lower().split()
            length = int(words[words.index(b"content-length:") + 1]) if b"content-length:" in words else 0
            connection.sendall(answer(head, reader.read(length), told))
            if b"close" in words:
                return


def serve(given: "dict[str, str]", folder: str) -> None:
    """On a unix socket, until our parent ends or somebody wants that we do."""
    with open(f"{folder}/expected.json", "rb") as file:  # noqa: PTH123 (pathlib costs 15 ms)
        told = json.load(file)["outputs"]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=end_with_parent, args=(int(given["--parent-fd"]),), daemon=True).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(given["--socket"])
    listener.listen(64)
    while True:
        threading.Thread(target=talk, args=(listener.accept()[0], told), daemon=True).start()


def main() -> None:
    """Be the verb that is asked for; the real one for all that is not known here."""
    folder, words = sys.argv[1], sys.argv[2:]
    verb = words[3]
    if verb in ("inspect", "runtimes"):
        with open(f"{folder}/{verb}.json") as file:  # noqa: PTH123 (likewise)
            print(file.read())
    elif verb.startswith("--"):
        serve(dict(zip(words[3::2], words[4::2], strict=True)), folder)
    else:
        os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    main()
