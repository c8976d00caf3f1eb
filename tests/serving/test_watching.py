"""The access log and the kept payloads: what they say, and that a wrapped application answers as before."""

import asyncio
import io
import json
from pathlib import Path

from serving.access_log import LoggedApplication
from serving.application import ModelServer
from serving.messages import Request, Response
from serving.payloads import MOST_BODY_BYTES, BoundedFile, SampledApplication
from serving.problems import Problem
from tests.serving.models import IDENTITY, double_scorer

ASK = Request(b"POST", b"/predict", {b"x-request-id": b"req_1"}, b'{"inputs": {"x": [1, 2]}}')


def server() -> ModelServer:
    application = ModelServer(IDENTITY, None, 1)
    application.serve(double_scorer(), 0.0)
    return application


async def test_each_request_is_a_line_of_the_access_log() -> None:
    out = io.StringIO()
    application = LoggedApplication(server(), out)
    assert application.answer(ASK) == server().answer(ASK)
    application.answer(Request(b"GET", b"/nothing?a=\xff", {}, b""))
    application.refusal(Problem(400, "malformed_request", "no HTTP"))
    first, second, third = (json.loads(line)["access"] for line in out.getvalue().splitlines())
    assert (first["method"], first["target"], first["status"], first["request_id"]) == (
        "POST",
        "/predict",
        200,
        "req_1",
    )
    assert (first["request_bytes"], first["response_bytes"] > 0, first["ms"] >= 0) == (25, True, True)
    assert second["status"] == 404
    assert third == {"status": 400, "code": "malformed_request"}


async def test_some_predictions_are_kept_and_nothing_else() -> None:
    kept: list[bytes] = []
    application = SampledApplication(server(), 0.5, kept.append, seed=1)
    for _ in range(200):
        assert isinstance(application.answer(ASK), Response)
        application.answer(Request(b"GET", b"/metrics", {}, b""))
    assert 60 < len(kept) < 140
    payload = json.loads(kept[0])["payload"]
    assert json.loads(payload["request"]["text"]) == {"inputs": {"x": [1, 2]}}
    assert json.loads(payload["response"]["text"])["outputs"] == {"y": [2.0, 4.0]}


async def test_a_large_or_binary_body_is_kept_in_part() -> None:
    kept: list[bytes] = []
    application = SampledApplication(server(), 1.0, kept.append)
    for body in (b"x" * 100_000, b"\0\1\2"):
        answer = application.answer(Request(b"POST", b"/predict", {}, body))
        if not isinstance(answer, Response):
            await answer
    await asyncio.sleep(0)  # the callbacks of the last one
    large, binary = (json.loads(line)["payload"] for line in kept)
    assert (large["status"], large["request"]["bytes"]) == (400, 100_000)
    assert len(large["request"]["text"]) == MOST_BODY_BYTES
    assert binary["request"]["base64"] == "AAEC"


def test_the_file_of_payloads_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "payloads"
    file = BoundedFile(path, most_bytes=100)
    for number in range(50):
        file.write(f"{number:09}\n".encode())
    file.close()
    assert path.stat().st_size <= 100
    assert sorted(each.name for each in tmp_path.iterdir()) == ["payloads", "payloads.1"]
    assert path.read_text().splitlines()[-1] == f"{49:09}"
