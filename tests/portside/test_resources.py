"""What users hold: typed, told apart when it failed, waited for across restarts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from portside import (
    AsyncPortside,
    InvalidInput,
    OperationCanceled,
    OperationFailed,
    PredictionCanceled,
    PredictionFailed,
    WaitTimeout,
)
from tests.portside.documents import operation, prediction, problem, service
from tests.portside.scripted import QUICK, Drop, Say, asking, scripted

IRIS = Say(200, service())
ACCEPTED = Say(202, operation())
QUEUED, DONE = Say(200, operation()), Say(200, operation("succeeded"))


def test_a_resource_has_typed_fields_and_all_the_rest() -> None:
    with asking(Say(200, service(news="x"))) as (_, platform):
        iris = platform.services.get("iris")
    assert (iris.name, iris.status, iris.replicas, iris.tags) == ("iris", "running", 1, ("a",))
    assert iris.since == datetime(2026, 1, 31, 12, 0, 0, 1, UTC)
    assert iris.raw["news"] == "x"
    assert iris.message is None, "what this platform does not say"
    with pytest.raises(AttributeError):
        iris.status = "paused"  # type: ignore[misc]


def test_an_operation_is_waited_for_across_lost_connections() -> None:
    with asking(IRIS, ACCEPTED, QUEUED, *[Drop()] * 8, DONE) as (server, platform):
        assert platform.services.get("iris").pause().wait().status == "succeeded"
    assert server.seen[-1].path.startswith("/api/v1/operations/op_1:wait?timeout=")


def test_an_operation_that_fails_says_why() -> None:
    why = problem(422, code="deploy_failed", detail="it never became ready", last_lines="Killed")
    with asking(IRIS, ACCEPTED, Say(200, operation("failed", error=why))) as (_, platform):
        paused = platform.services.get("iris").pause()
        with pytest.raises(OperationFailed) as failed:
            paused.wait()
    assert (failed.value.code, failed.value.operation["id"]) == ("deploy_failed", "op_1")
    assert str(failed.value).splitlines() == [
        "service.deploy of service iris failed: it never became ready",
        "the last lines of its log:",
        "  Killed",
        "operation: op_1",
    ]


def test_an_operation_that_was_canceled_is_told_apart() -> None:
    ended = operation("canceled", error=problem(409, code="canceled"), superseded_by="op_2")
    with asking(IRIS, ACCEPTED, Say(200, ended)) as (_, platform), pytest.raises(OperationCanceled) as canceled:
        platform.services.get("iris").pause().wait()
    assert canceled.value.operation["superseded_by"] == "op_2"


def test_a_wait_ends_in_time_and_says_that_it_goes_on() -> None:
    with asking(IRIS, ACCEPTED) as (_, platform), pytest.raises(WaitTimeout, match="goes on"):
        platform.services.get("iris").pause().wait(0)


def test_a_mutation_that_only_changed_rows_has_its_operation_too() -> None:
    changed = Say(200, service(replicas=2), {"operation-location": "http://elsewhere/api/v1/operations/op_1"})
    with asking(IRIS, changed, DONE) as (server, platform):
        assert platform.services.get("iris").update(replicas=2).done
    assert (server.seen[1].body, server.seen[2].path) == (b'{"replicas": 2}', "/api/v1/operations/op_1")


def test_a_service_waits_for_what_holds_it() -> None:
    held = Say(200, service(status="updating", operation="http://elsewhere/api/v1/operations/op_1"))
    with asking(held, QUEUED, DONE, IRIS) as (_, platform):
        assert platform.services.get("iris").wait().status == "running"


class Array:
    """What numpy's arrays and numbers have in common."""

    def tolist(self) -> list[float]:
        return [5.1, 3.5]


def test_each_spelling_of_an_input_is_sent_as_it_is() -> None:
    answer = Say(200, {"outputs": [1]})
    with asking(IRIS, answer, answer, answer) as (server, platform):
        iris = platform.services.get("iris")
        iris.predict({"x": Array()})
        iris.predict(columns=["x"], data=[[1]])
        assert iris.predict(tensors={"x": [[1]]}) == [1]
    assert [seen.body for seen in server.seen[1:]] == [
        b'{"inputs": {"x": [5.1, 3.5]}}',
        b'{"columns": ["x"], "data": [[1]]}',
        b'{"tensors": {"x": [[1]]}}',
    ]


def test_a_part_is_asked_at_once_and_durably() -> None:
    answer, submitted = Say(200, {"outputs": [1]}), Say(202, prediction(part="fr"))
    with asking(IRIS, answer, submitted) as (server, platform):
        iris = platform.services.get("iris")
        assert iris.predict({"x": 1}, part="fr") == [1]
        assert iris.submit({"x": 1}, part="fr").part == "fr"
    assert [seen.path for seen in server.seen[1:]] == [
        "/api/v1/services/iris/parts/fr/predict",
        "/api/v1/services/iris/predictions",
    ]
    assert server.seen[2].body == b'{"inputs": {"x": 1}, "part": "fr"}'


def test_what_is_no_input_is_said_before_anything_is_sent() -> None:
    with asking(IRIS) as (_, platform):
        iris = platform.services.get("iris")
        wrong: list[dict[str, Any]] = [{}, {"inputs": {}, "tensors": {}}, {"columns": ["x"]}, {"data": [[1]]}]
        for given in wrong:
            with pytest.raises(InvalidInput, match="columns with data"):
                iris.predict(**given)
        for value in (float("nan"), object()):
            with pytest.raises(InvalidInput, match="JSON"):
                iris.predict({"x": value})


def test_a_prediction_is_submitted_once_waited_for_and_read() -> None:
    ended = prediction("succeeded", output={"label": "setosa"}, metrics={"total_time": 0.5})
    with asking(IRIS, Drop(), Say(202, prediction()), Say(200, prediction()), Say(200, ended)) as (server, platform):
        submitted = platform.services.get("iris").submit({"x": 1}, webhook="http://me", cancel_after_s=90)
        assert not submitted.is_final
        assert submitted.wait().output == {"label": "setosa"}
    lost, again = server.seen[1:3]
    assert (lost.body, lost.headers["idempotency-key"]) == (again.body, again.headers["idempotency-key"])
    assert (again.body, again.headers["cancel-after"]) == (b'{"inputs": {"x": 1}, "webhook": "http://me"}', "90s")


def test_a_prediction_that_fails_says_why() -> None:
    why = problem(422, detail="age is missing", code="invalid_input")
    ended = Say(200, prediction("failed", error="age is missing", problem=why))
    with asking(IRIS, Say(202, prediction()), ended) as (_, platform), pytest.raises(PredictionFailed) as failed:
        platform.services.get("iris").submit({"x": 1}).wait()
    assert (str(failed.value), failed.value.code) == ("prd_1 failed: age is missing", "invalid_input")


def test_a_prediction_that_was_canceled_is_told_apart() -> None:
    ended = Say(200, prediction("canceled"))
    with asking(IRIS, Say(202, prediction()), ended) as (_, platform):
        canceled = platform.services.get("iris").submit({"x": 1}).cancel()
        with pytest.raises(PredictionCanceled):
            canceled.wait()


def test_lists_go_on_over_all_pages() -> None:
    pages = (
        {"items": [service(name="a")], "next_page_token": "t"},
        {"items": [service(name="b")], "next_page_token": None},
    )
    with asking(*(Say(200, page) for page in pages)) as (server, platform):
        assert [each.name for each in platform.services.list(status="running")] == ["a", "b"]
    assert [seen.path for seen in server.seen] == [
        "/api/v1/services?status=running",
        "/api/v1/services?status=running&page_token=t",
    ]


async def test_predictions_are_listed_over_all_pages_with_asyncio() -> None:
    following = "http://elsewhere/api/v1/predictions?page_size=1&page_token=t"
    pages = (
        {"results": [prediction(id="a")], "next": following, "previous": None},
        {"results": [prediction(id="b")], "next": None, "previous": None},
    )
    with scripted(*(Say(200, page) for page in pages)) as server:
        async with AsyncPortside(server.url, retries=QUICK) as platform:
            assert [each.id async for each in platform.predictions.list(page_size=1)] == ["a", "b"]
    assert server.seen[1].path == "/api/v1/predictions?page_size=1&page_token=t"


async def test_asyncio_waits_and_is_told_why_something_failed() -> None:
    failed = operation("failed", error=problem(422, code="deploy_failed"))
    with scripted(IRIS, ACCEPTED, Drop(), QUEUED, Say(200, failed)) as server:
        async with AsyncPortside(server.url, retries=QUICK) as platform:
            paused = await (await platform.services.get("iris")).pause()
            with pytest.raises(OperationFailed):
                await paused.wait()
