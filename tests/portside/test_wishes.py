"""What may be said beside an input or a name: bad records, CSV, the services that go with a model, how long."""

import io
import math
from pathlib import Path

import pytest

from portside import AsyncPortside, InvalidInput, Portside
from tests.portside.documents import AT, operation, prediction, service
from tests.portside.scripted import QUICK, Say, asking, scripted

IRIS = Say(200, service())
DONE = Say(200, operation("succeeded"))
MODEL = Say(
    200,
    {
        "id": "mdl_1",
        "name": "iris",
        "tags": [],
        "status": "active",
        "versions": 1,
        "aliases": {},
        "created_at": AT,
        "updated_at": AT,
    },
)
CSV = b"x,y\n1,2\n"


def test_bad_records_are_told_beside_the_answers_of_the_others() -> None:
    wrong = {"index": 1, "code": "invalid_input"}
    answers = Say(200, {"outputs": [1, None], "errors": [wrong]}), Say(200, {"outputs": [1]})
    with asking(IRIS, *answers, Say(202, prediction())) as (server, platform):
        iris = platform.services.get("iris")
        found = iris.predict([{"x": 1}, {"x": "a"}], on_error="record")
        assert found == {"outputs": [1, None], "errors": [wrong]}
        assert iris.predict([{"x": 1}], on_error="record") == {"outputs": [1], "errors": []}
        iris.submit([{"x": 1}], on_error="record")
    assert [seen.path for seen in server.seen[1:]] == [
        "/api/v1/services/iris/predict?on_error=record",
        "/api/v1/services/iris/predict?on_error=record",
        "/api/v1/services/iris/predictions?on_error=record",
    ]


def test_rows_of_csv_are_sent_and_answered_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(CSV)
    with asking(IRIS, *[Say(200, {"stands": "for rows"})] * 3) as (server, platform):
        iris = platform.services.get("iris")
        assert iris.predict_csv(CSV) == '{"stands": "for rows"}'
        iris.predict_csv(file, part="fr")
        iris.predict_csv(io.BytesIO(CSV), on_error="record")
        with pytest.raises(FileNotFoundError):
            iris.predict_csv(tmp_path / "none.csv")
    assert [(seen.path, seen.body) for seen in server.seen[1:]] == [
        ("/api/v1/services/iris/predict", CSV),
        ("/api/v1/services/iris/parts/fr/predict", CSV),
        ("/api/v1/services/iris/predict?on_error=record", CSV),
    ]
    assert {(seen.headers["content-type"], seen.headers["accept"]) for seen in server.seen[1:]} == {
        ("text/csv", "text/csv")
    }


def test_a_model_is_deleted_with_its_services_or_without() -> None:
    gone = Say(200, {"stands": "for nothing"}, {"operation-location": "http://elsewhere/api/v1/operations/op_1"})
    would = Say(200, {"dry_run": True, "services": ["iris", "late"], "versions": 1})
    with asking(MODEL, gone, DONE, would, Say(202, operation())) as (server, platform):
        model = platform.models.get("iris")
        assert model.delete().done
        assert model.would_delete(cascade=True)["services"] == ["iris", "late"]
        assert not model.delete(cascade=True, services=["iris", "late"]).done
        with pytest.raises(InvalidInput, match="cascade=True"):
            model.delete(services=["iris"])
    assert [seen.path for seen in server.seen if seen.method == "DELETE"] == [
        "/api/v1/models/iris",
        "/api/v1/models/iris?cascade=true&dry_run=true",
        "/api/v1/models/iris?cascade=true&services=iris%2Clate",
    ]


async def test_a_model_is_deleted_with_its_services_with_asyncio() -> None:
    with scripted(MODEL, Say(202, operation()), DONE) as server:
        async with AsyncPortside(server.url, retries=QUICK) as platform:
            operation_ = await (await platform.models.get("iris")).delete(cascade=True)
            assert (await operation_.wait()).done
    assert server.seen[1].path == "/api/v1/models/iris?cascade=true"


def test_a_time_that_is_no_number_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="timeout_s is nan"):
        Portside("http://127.0.0.1:1", timeout_s=math.nan)
    with asking(IRIS, Say(202, operation())) as (server, platform):
        iris = platform.services.get("iris")
        for ask in (iris.wait, iris.pause().wait, lambda timeout_s: iris.predict({}, timeout_s=timeout_s)):
            with pytest.raises(InvalidInput, match="timeout_s is nan"):
                ask(timeout_s=math.nan)
    assert len(server.seen) == 2
