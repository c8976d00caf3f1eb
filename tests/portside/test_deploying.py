"""What is uploaded, and what it is called where nobody says."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from portside import InvalidInput
from portside.deploying import Plan, upload_request
from portside.sources import HandleSource, source_of
from tests.portside.documents import operation, problem, service
from tests.portside.scripted import Say, asking


def test_a_service_is_named_after_its_file_and_the_model_after_the_service(tmp_path: Path) -> None:
    plan = Plan.make(tmp_path / "Iris Forest (v2).onnx", None, None, None)
    assert (plan.service, plan.model) == ("iris-forest-v2", "iris-forest-v2")
    named = Plan.make(str(tmp_path / "iris.onnx"), "flowers", None, 2)
    assert (named.service, named.model, named.replicas) == ("flowers", "flowers", 2)


def test_what_has_no_name_needs_one() -> None:
    with pytest.raises(InvalidInput, match="name="):
        Plan.make(io.BytesIO(b"x"), None, None, None)
    assert Plan.make(io.BytesIO(b"x"), "given", None, None).service == "given"


def test_an_open_file_is_read_from_where_it_stands_as_often_as_needed(tmp_path: Path) -> None:
    file = tmp_path / "iris.onnx"
    file.write_bytes(b"head" + bytes(600_000))
    with file.open("rb") as handle:
        handle.seek(4)
        source = source_of(handle)
        assert (source.name, source.size_bytes) == ("iris.onnx", 600_000)
        assert source.digest() == f"sha256:{hashlib.sha256(bytes(600_000)).hexdigest()}"
        assert [b"".join(source.pieces()) for _ in range(2)] == [bytes(600_000)] * 2
        assert max(map(len, source.pieces())) <= 256 * 1024


def test_what_can_be_read_only_once_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, pytest.raises(InvalidInput, match="seek"):
        Plan.make(pipe, "x", None, None)


def test_an_upload_says_its_size_and_its_name_in_any_script() -> None:
    handle = io.BytesIO(b"1234")
    handle.name = "花.onnx"
    request = upload_request(HandleSource(handle), "iris")
    assert request.headers["content-length"] == "4"
    assert request.headers["content-disposition"] == "attachment; filename*=utf-8''%E8%8A%B1.onnx"


LINK = "http://elsewhere/api/v1/operations/op_1"
READY = Say(200, {"version": "2", "status": "ready"})
DONE = Say(200, operation("succeeded"))


def test_a_service_that_is_being_paused_is_brought_back() -> None:
    steps = (
        READY,
        Say(200, service(status="pausing", operation=LINK)),
        DONE,
        Say(200, service(status="paused")),
        Say(200, service(status="paused"), {"operation-location": LINK}),
        Say(202, operation()),
        DONE,
        Say(200, service(version="2")),
    )
    with asking(*steps) as (server, platform):
        assert platform.deploy(io.BytesIO(b"x"), "iris").version == "2"
    asked = [(seen.method, seen.path.rpartition("/")[2]) for seen in server.seen[1:]]
    assert [each for each in asked if each[0] != "GET"] == [("PATCH", "iris"), ("POST", "iris:resume")]


def test_a_service_that_is_being_deleted_is_made_anew() -> None:
    gone = Say(404, problem(404))
    leaving = Say(200, service(status="deleting", operation=LINK))
    steps = (READY, leaving, DONE, gone, Say(202, operation()), Say(200, service(status="pending")))
    with asking(*steps) as (server, platform):
        assert platform.deploy(io.BytesIO(b"x"), "iris", replicas=2, wait=False).status == "pending"
    made = server.seen[4]
    assert (made.method, made.path) == ("POST", "/api/v1/services")
    assert made.body == b'{"name": "iris", "model": "iris", "version": "2", "replicas": 2}'
