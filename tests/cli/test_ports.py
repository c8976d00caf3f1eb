"""A busy port is told in one sentence that names its holder where the kernel tells."""

import os
import socket
from pathlib import Path

import pytest

from cli.address import AddressUnusable, bind
from cli.ports import listener_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"
CONNECTED = LISTENS.replace(" 0A ", " 01 ")


def make_proc(root: Path, table: str, command: bytes = b"/usr/bin/python3\0-m\0http.server\0") -> Path:
    """A /proc of one process, 99, that holds socket 4711."""
    (root / "net").mkdir()
    (root / "net/tcp").write_text(HEAD + table)
    (root / "99/fd").mkdir(parents=True)
    (root / "99/fd/3").symlink_to("socket:[4711]")
    (root / "99/cmdline").write_bytes(command)
    return root


def test_the_listener_is_named_with_its_command(tmp_path: Path) -> None:
    assert listener_of(8000, make_proc(tmp_path, LISTENS)) == "process 99 (python3 -m http.server)"


def test_a_long_command_is_cut(tmp_path: Path) -> None:
    found = listener_of(8000, make_proc(tmp_path, LISTENS, b"python3\0" + b"x" * 500))
    assert found is not None
    assert len(found) < 100


@pytest.mark.parametrize(("port", "table"), [(8001, LISTENS), (8000, CONNECTED), (8000, "")])
def test_who_does_not_listen_on_the_port_is_not_named(tmp_path: Path, port: int, table: str) -> None:
    assert listener_of(port, make_proc(tmp_path, table)) is None


def test_without_a_proc_nobody_is_named(tmp_path: Path) -> None:
    assert listener_of(8000, tmp_path / "none") is None


def test_a_busy_port_names_its_holder_and_the_ways_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(AddressUnusable) as refused:
            bind("127.0.0.1", port)
    sentence = refused.value.message
    assert sentence.startswith(f"Port {port} of 127.0.0.1 is in use")
    assert "--port 0" in sentence
    assert f"process {os.getpid()} " in sentence or not Path("/proc/net/tcp").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(AddressUnusable, match=rf"{host}:0 cannot be listened on .*--host"):
        bind(host, 0)


def test_port_0_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
