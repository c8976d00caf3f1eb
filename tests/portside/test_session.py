"""A request is repeated exactly when that can do no harm, and always as the same request."""

import gc
import io
import socket
from pathlib import Path

import psutil
import pytest

from portside import (
    AnswerTimeout,
    ApiError,
    AsyncPortside,
    Conflict,
    ConnectionFailed,
    Forbidden,
    NotFound,
    Portside,
    Rejected,
    Retries,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from portside.messages import Repeat, Request
from tests.portside.documents import operation, problem, service
from tests.portside.scripted import QUICK, Drop, Hang, Say, Step, asking, scripted

ACCEPTED = Say(202, operation())
AWAY = Say(503, problem(503), {"retry-after": "0"})


@pytest.mark.parametrize("fault", [Drop(), AWAY, Say(502), Say(504), Say(429, {}, {"retry-after": "0"})])
def test_a_mutation_that_failed_is_sent_again_with_its_key(fault: Step) -> None:
    with asking(Say(200, service()), fault, fault, ACCEPTED) as (server, platform):
        assert platform.services.get("iris").pause().id == "op_1"
    first, *others = server.seen[1:]
    assert (first.method, first.path) == ("POST", "/api/v1/services/iris:pause")
    assert len(first.headers["idempotency-key"]) == 32
    assert [again.headers["idempotency-key"] for again in others] == [first.headers["idempotency-key"]] * 2


def test_each_mutation_has_a_key_of_its_own() -> None:
    with asking(Say(200, service()), ACCEPTED, ACCEPTED) as (server, platform):
        iris = platform.services.get("iris")
        iris.pause()
        iris.pause()
    assert server.seen[1].headers["idempotency-key"] != server.seen[2].headers["idempotency-key"]


def test_a_first_attempt_that_is_still_under_way_is_waited_for() -> None:
    still = Say(409, problem(409, code="idempotency_in_progress"))
    with asking(Say(200, service()), Drop(), still, ACCEPTED) as (_, platform):
        assert platform.services.get("iris").pause().id == "op_1"


@pytest.mark.parametrize("status", [400, 409, 422, 500, 507])
def test_what_stays_wrong_is_not_sent_again(status: int) -> None:
    with asking(Say(200, service()), Say(status, problem(status))) as (_, platform), pytest.raises(ApiError):
        platform.services.get("iris").pause()


def test_attempts_are_bounded() -> None:
    retries = Retries(attempts=3, first_pause_s=0.001)
    with (
        asking(Drop(), Drop(), Drop(), retries=retries) as (_, platform),
        pytest.raises(ConnectionFailed, match="broke off"),
    ):
        platform.services.get("iris")


def test_a_wish_that_is_longer_than_the_call_may_take_ends_it_at_once() -> None:
    later = Say(503, problem(503), {"retry-after": "20"})
    with asking(later, timeout_s=10) as (_, platform), pytest.raises(Unavailable) as refused:
        platform.services.get("iris")
    assert refused.value.retry_after_s == 20


def test_a_silent_platform_ends_the_call_at_its_deadline() -> None:
    with (
        asking(Hang(), timeout_s=0.1) as (_, platform),
        pytest.raises(AnswerTimeout, match=r"did not answer within 0\.[01]\d* s"),
    ):
        platform.services.get("iris")


def test_pauses_are_drawn_up_to_a_limit_that_doubles_and_add_to_what_was_asked_for() -> None:
    request = Request("GET", "/", repeat=Repeat.ALWAYS)
    retries = Retries(attempts=99, first_pause_s=1, longest_pause_s=4)
    lost = ConnectionFailed("lost", was_sent=True)
    drawn = {attempt: [retries.pause_s(request, lost, attempt) or 0 for _ in range(200)] for attempt in (1, 2, 3, 9)}
    for attempt, limit in {1: 1, 2: 2, 3: 4, 9: 4}.items():
        assert limit / 2 < max(drawn[attempt]) <= limit
        assert min(drawn[attempt]) < limit / 2
    asked = [retries.pause_s(request, Unavailable(503, {}, None, 7.0), 1) or 0 for _ in range(50)]
    assert 7 <= min(asked) <= max(asked) <= 8


def test_a_prediction_is_sent_again_where_none_could_begin() -> None:
    answer = Say(200, {"outputs": {"label": "setosa"}})
    with asking(Say(200, service()), AWAY, answer) as (server, platform):
        assert platform.services.get("iris").predict({"x": 1}) == {"label": "setosa"}
    assert "idempotency-key" not in server.seen[1].headers


@pytest.mark.parametrize("fault", [Drop(), Say(502, problem(502)), Say(504, problem(504)), Say(429, problem(429))])
def test_a_prediction_that_may_have_begun_is_not_sent_again(fault: Step) -> None:
    with asking(Say(200, service()), fault) as (_, platform), pytest.raises((ConnectionFailed, ApiError)):
        platform.services.get("iris").predict({"x": 1})


def test_a_prediction_that_a_stopping_server_broke_off_is_not_sent_again_but_what_has_a_key_is() -> None:
    stopped = Say(503, problem(503, code="stopping"), {"retry-after": "0"})
    with asking(Say(200, service()), stopped, stopped, ACCEPTED) as (server, platform):
        iris = platform.services.get("iris")
        with pytest.raises(Unavailable):
            iris.predict({"x": 1})
        assert len(server.seen) == 2
        assert iris.pause().id == "op_1"


def test_where_nobody_listens_it_is_tried_again_and_then_said_how_to_start() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # nobody else can listen there, and this one does not
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Portside(url, retries=QUICK) as platform, pytest.raises(ConnectionFailed, match="portside up") as failed:
            platform.services.get("iris")
    assert not failed.value.was_sent
    request = Request("GET", "/", repeat=Repeat.ALWAYS)
    assert QUICK.pause_s(request, failed.value, 1) is not None
    assert Retries(waits_for_start=False).pause_s(request, failed.value, 1) is None


ERRORS = [
    (400, Rejected), (401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict), (412, Conflict),
    (413, Rejected), (422, Rejected), (429, TooManyRequests), (500, ApiError), (503, Unavailable), (507, Unavailable),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind"), ERRORS)
def test_each_refusal_has_its_type(status: int, kind: type[ApiError]) -> None:
    said = Say(status, problem(status), {"x-request-id": "req_1"})
    with asking(said, retries=Retries(attempts=1)) as (_, platform), pytest.raises(kind) as refused:
        platform.services.get("iris")
    error = refused.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.request_id) == (
        status,
        "some_code",
        f"it is {status}",
        "req_1",
    )


def test_a_refusal_says_which_field_is_wrong_and_what_to_do() -> None:
    fields = [{"pointer": "/inputs/age", "detail": "is missing", "hint": "a number"}]
    said = Say(422, problem(422, detail="1 field is wrong", errors=fields, request_id="req_2"))
    with asking(Say(200, service()), said) as (_, platform), pytest.raises(Rejected) as refused:
        platform.services.get("iris").predict({})
    assert str(refused.value).splitlines() == [
        "1 field is wrong",
        "/inputs/age: is missing",
        "hint: a number",
        "request: req_2",
    ]
    assert (refused.value.errors[0].pointer, refused.value.errors[0].hint) == ("/inputs/age", "a number")


def test_an_address_that_leads_elsewhere_says_where() -> None:
    with (
        asking(Say(308, {}, {"location": "https://other.example/"})) as (_, platform),
        pytest.raises(ApiError, match=r"other\.example"),
    ):
        platform.services.get("iris")


def test_a_file_is_sent_again_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "big.onnx"
    file.write_bytes(bytes(range(256)) * 3000)
    inspected = operation("succeeded", target={"type": "version", "name": "1"})
    missing = Say(404, problem(404))
    version = {"version": "1", "status": "ready", "created_at": "2026-01-31T12:00:00Z", "model": "big"}
    steps = (missing, Drop(), Say(202, inspected), Say(200, version))
    for given in (file, io.BytesIO(file.read_bytes())):
        with asking(*steps) as (server, platform):
            assert platform.upload(given, "big").version == "1"
        lost, again = server.seen[1:3]
        assert lost.body == again.body == file.read_bytes()
        assert lost.headers["idempotency-key"] == again.headers["idempotency-key"]
        assert "transfer-encoding" not in again.headers
    assert server.seen[0].path.startswith("/api/v1/models/big/versions/sha256:")


async def test_asyncio_has_the_same_retries_and_uploads(tmp_path: Path) -> None:
    file = tmp_path / "big.onnx"
    file.write_bytes(bytes(range(256)) * 3000)
    inspected = operation("succeeded", target={"type": "version", "name": "1"})
    version = {"version": "1", "status": "ready", "created_at": "2026-01-31T12:00:00Z", "model": "big"}
    steps = (Say(404, problem(404)), Drop(), AWAY, Say(202, inspected), Say(200, version))
    with scripted(*steps) as server:
        async with AsyncPortside(server.url, retries=QUICK) as platform:
            assert (await platform.upload(file, "big")).version == "1"
    assert [seen.body for seen in server.seen[1:4]] == [file.read_bytes()] * 3
    assert len({seen.headers["idempotency-key"] for seen in server.seen[1:4]}) == 1


async def test_asyncio_is_told_of_a_lost_connection_too() -> None:
    with scripted(Drop()) as server:
        async with AsyncPortside(server.url, retries=Retries(attempts=1)) as platform:
            with pytest.raises(ConnectionFailed, match="broke off"):
                await platform.services.get("iris")


def test_who_is_no_platform_is_told_apart() -> None:
    with asking(Say(200, {})) as (server, platform), pytest.raises(UnexpectedAnswer, match=server.url):
        platform.services.get("iris")


def test_connections_end_with_the_last_object_that_came_of_a_client() -> None:
    with scripted(Say(200, service())) as server:
        port = server.server_address[1]

        def connections() -> int:
            found = psutil.Process().net_connections("tcp")
            return len([one for one in found if getattr(one.raddr, "port", None) == port])

        iris = Portside(server.url).services.get("iris")
        gc.collect()
        assert connections() == 1
        del iris
        gc.collect()
        assert connections() == 0
