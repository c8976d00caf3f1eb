"""A platform on this machine is asked without httpx2, and what comes of it is what httpx2 would have made of it."""

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from cli.loopback import CommandTransport, LoopbackTransport
from cli.open import open_transport
from portside import AnswerTimeout, ConnectionFailed, NotFound
from portside.messages import Body, Query, Reply, Request
from portside.session import finish
from portside.sources import HandleSource
from portside.transport import BlockingTransport
from tests.portside.scripted import Drop, Hang, Say, scripted

Open = Callable[[str], CommandTransport]


@pytest.fixture(params=["loopback", "httpx2"])
def open_it(request: pytest.FixtureRequest) -> Open:
    return BlockingTransport if request.param == "httpx2" else lambda url: LoopbackTransport(url, BlockingTransport)


def asked(transport: CommandTransport, request: Request, token: str | None = None, idle_s: float = 60) -> Reply:
    return finish(transport.exchange(request, token, idle_s))


def test_a_request_arrives_as_it_was_meant(open_it: Open) -> None:
    query: Query = {"name.prefix": "a b&c=ü", "page_size": 50}
    request = Request("POST", "/api/v1/models/ä%20b:undo", query, {"idempotency-key": "k"}, b"{}")
    with scripted(Say(201, {"ok": True}, {"X-Request-Id": "req_1"})) as server:
        reply = asked(open_it(f"{server.url}/below"), request, "pst_mine")
    assert (reply.status, reply.document) == (201, {"ok": True})
    assert (reply.headers["x-request-id"], reply.headers.get("X-REQUEST-ID")) == ("req_1", "req_1")
    (seen,) = server.seen
    path, _, asked_for = seen.path.partition("?")
    assert (seen.method, path) == ("POST", "/below/api/v1/models/%C3%A4%20b:undo")
    assert asked_for.replace("%20", "+") == "name.prefix=a+b%26c%3D%C3%BC&page_size=50"
    assert (seen.headers["authorization"], seen.headers["idempotency-key"]) == ("Bearer pst_mine", "k")
    assert (seen.headers["content-length"], seen.body) == ("2", b"{}")


@pytest.mark.parametrize("body", [None, b"", b"x" * 3_000_000])
def test_bodies_of_any_size_arrive(open_it: Open, body: Body) -> None:
    with scripted(Say()) as server:
        asked(open_it(server.url), Request("PUT", "/", {}, {}, body))
    assert server.seen[0].body == (body or b"")


def test_a_file_is_streamed(open_it: Open) -> None:
    source = HandleSource(io.BytesIO(b"model"))
    with scripted(Say(202)) as server:
        transport = open_it(server.url)
        assert asked(transport, Request("POST", "/", {}, {"content-length": "5"}, source)).status == 202
        finish(transport.close())
    assert server.seen[0].body == b"model"


def test_an_answer_is_read_as_it_comes(open_it: Open) -> None:
    with scripted(Say(200, {"line": 1}), Say(404, {"detail": "no such log"})) as server:
        transport = open_it(server.url)
        assert "".join(transport.stream("/logs", {}, None, {}, 60)) == '{"line": 1}'
        with pytest.raises(NotFound, match="no such log"):
            list(transport.stream("/logs", {}, None, {}, 60))
        finish(transport.close())


def test_where_nobody_listens_nothing_was_sent(open_it: Open) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # nobody else can listen there, and this one does not
        port = listener.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=r"No platform answers at .*portside up") as failed:
            asked(open_it(f"http://127.0.0.1:{port}"), Request("GET", "/"))
    assert not failed.value.was_sent


def test_a_connection_that_breaks_may_have_carried_the_request(open_it: Open) -> None:
    with scripted(Drop()) as server, pytest.raises(ConnectionFailed, match="broke off") as failed:
        asked(open_it(server.url), Request("GET", "/"))
    assert failed.value.was_sent


def test_a_silence_that_is_too_long_is_a_time_out(open_it: Open) -> None:
    with scripted(Hang()) as server, pytest.raises(AnswerTimeout, match=r"within 0\.1 s") as failed:
        asked(open_it(server.url), Request("GET", "/"), idle_s=0.1)
    assert failed.value.was_sent


@pytest.fixture
def early_refusal() -> Iterator[str]:
    """The URL of a server that answers 413 after the head, and closes without having read the body."""
    answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

    def refuse() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(1000)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):  # else the kernel resets the connection, and may lose the answer
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with socket.create_connection(listener.getsockname()):  # where the test has failed before it came
            pass
        thread.join()


def test_a_refusal_that_comes_before_the_body_is_read_arrives(open_it: Open, early_refusal: str) -> None:
    request = Request("POST", "/", {}, {}, b"x" * 5_000_000)
    assert asked(open_it(early_refusal), request).status == 413


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:8000", LoopbackTransport),
        ("http://localhost:8000", LoopbackTransport),
        ("https://localhost:8000", BlockingTransport),
        ("http://portside.example", BlockingTransport),
    ],
)
def test_only_this_machine_without_tls_goes_the_short_way(url: str, kind: type) -> None:
    assert type(open_transport(url)) is kind
