"""Every error of the API becomes words, a next step and an exit status that a script can rely on."""

import socket
from pathlib import Path

import pytest

from cli.client import Platform, refusal
from cli.failure import CommandFailed, Exit
from cli.upload import upload
from tests.portside.scripted import Drop, Hang, Say, scripted

STATUSES = [
    (400, Exit.FAILED),
    (401, Exit.AUTH),
    (403, Exit.AUTH),
    (404, Exit.NOT_FOUND),
    (409, Exit.CONFLICT),
    (412, Exit.CONFLICT),
    (422, Exit.FAILED),
    (429, Exit.QUOTA),
    (500, Exit.FAILED),
    (503, Exit.FAILED),
    (504, Exit.TIMEOUT),
]


@pytest.mark.parametrize(("http_status", "exit_status"), STATUSES)
def test_each_http_status_has_its_exit_status(http_status: int, exit_status: Exit) -> None:
    assert refusal(http_status, {"detail": "no"}).exit_status is exit_status


def test_a_quota_is_told_apart_from_other_refusals() -> None:
    assert refusal(422, {"detail": "no", "code": "quota_exceeded"}).exit_status is Exit.QUOTA


def test_a_refusal_names_fields_hints_and_the_request() -> None:
    failed = refusal(
        422,
        {
            "detail": "2 fields are wrong",
            "errors": [{"pointer": "/inputs/age", "detail": "is missing", "hint": "a number"}],
            "request_id": "req_1",
        },
    )
    assert failed.message == "2 fields are wrong"
    assert failed.details == ("/inputs/age: is missing", "hint: a number", "request: req_1")


def test_a_detail_is_not_said_twice() -> None:
    failed = refusal(422, {"detail": "it is empty", "errors": [{"pointer": "/file", "detail": "it is empty"}]})
    assert failed.details == ()


def test_a_missing_token_says_where_one_is() -> None:
    assert "PORTSIDE_TOKEN" in refusal(401, {"detail": "a token is needed"}).details[0]


def test_a_platform_that_is_not_ready_names_what_it_waits_for() -> None:
    failed = refusal(503, {"status": "not ready", "waiting_for": {"database": "it is away"}})
    assert (failed.message, failed.details) == ("not ready", ("database: it is away",))


def test_an_answer_that_is_no_problem_document_still_says_the_status() -> None:
    assert refusal(502, {}).message == "HTTP 502"


def test_where_nobody_listens_the_way_to_start_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # nobody else can listen there, and this one does not
        port = listener.getsockname()[1]
        with pytest.raises(CommandFailed, match=rf"No platform answers at http://127.0.0.1:{port}: .*portside up"):
            Platform(f"http://127.0.0.1:{port}").get("/readyz")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "", "http://[::1"])
def test_an_address_that_is_no_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(CommandFailed, match="PORTSIDE_API") as refused:
        Platform(url)
    assert refused.value.exit_status is Exit.USAGE


def test_a_change_whose_answer_is_lost_is_sent_again_as_the_same_change() -> None:
    steps = (Drop(), Say(503, {}, {"retry-after": "0"}), Say(202, {"id": "op_1"}))
    with scripted(*steps) as server, Platform(server.url) as platform:
        assert platform.call("POST", "/api/v1/services/iris:pause").document == {"id": "op_1"}
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v1/services"), ("POST", "/api/v1/services/iris/predict")])
def test_what_has_no_key_is_sent_once(method: str, path: str) -> None:
    with (
        scripted(Drop()) as server,
        Platform(server.url) as platform,
        pytest.raises(CommandFailed, match="broke off") as lost,
    ):
        platform.call(method, path)
    assert lost.value.exit_status is Exit.FAILED


def test_what_an_operator_has_switched_off_is_said_at_once() -> None:
    off = Say(503, {"detail": "deploys are switched off", "code": "switched_off"}, {"retry-after": "60"})
    with scripted(off) as server, Platform(server.url) as platform, pytest.raises(CommandFailed, match="switched off"):
        platform.call("POST", "/api/v1/services", {})


def test_a_silent_platform_is_a_time_out() -> None:
    with (
        scripted(Hang()) as server,
        Platform(server.url, timeout_s=0.1) as platform,
        pytest.raises(CommandFailed, match=r"did not answer within 0\.[01]\d* s\.") as late,
    ):
        platform.get("/api/v1/services")
    assert late.value.exit_status is Exit.TIMEOUT


def test_a_file_that_is_sent_again_is_taken_back_from_the_bar(tmp_path: Path) -> None:
    file = tmp_path / "big.onnx"
    file.write_bytes(bytes(1_000_000))
    told: list[int] = []
    with scripted(Drop(), Say(202, {})) as server, Platform(server.url) as platform:
        upload(platform, file, "big", told.append)
    assert [len(seen.body) for seen in server.seen] == [1_000_000] * 2
    assert max(told) <= 256 * 1024
    assert sum(told) == 1_000_000


def test_a_token_is_sent_without_the_line_end_that_a_file_has() -> None:
    with scripted(Say()) as server, Platform(server.url, "pst_mine\n") as platform:
        platform.get("/api/v1/services")
    assert server.seen[0].headers["authorization"] == "Bearer pst_mine"


@pytest.mark.parametrize("token", ["pst_é", "pst_\nmine"])
def test_a_token_with_other_letters_is_a_usage_error(token: str) -> None:
    with pytest.raises(CommandFailed, match="characters that no token has") as refused:
        Platform("http://127.0.0.1:9", token)
    assert refused.value.exit_status is Exit.USAGE
