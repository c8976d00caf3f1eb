"""`python -I -S typed.py DOOR WORD...`: a command of a page, done by who waits behind the door (`typist`).

It hands over its three streams, and ends as the command does.
"""

import json
import os
import socket
import sys

NEVER_DONE = 70  # EX_SOFTWARE of sysexits.h


def main() -> int:
    """The exit status."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(sys.argv[1])
        socket.send_fds(door, [b"!"], [0, 1, 2])
        folder = os.getcwd()  # noqa: PTH109  to import pathlib would take as long as all else here
        wish = {"words": sys.argv[2:], "folder": folder, "environment": dict(os.environ)}
        door.sendall(json.dumps(wish).encode())
        door.shutdown(socket.SHUT_WR)
        return int(door.recv(16) or NEVER_DONE)


if __name__ == "__main__":
    sys.exit(main())
