"""Jobs and runs as users hold them: made, begun, waited for, told apart when they ended otherwise."""

import json

import pytest

from portside import AsyncPortside, RunFailed, RunStopped, WaitTimeout
from tests.portside.documents import job, operation, problem, run
from tests.portside.scripted import QUICK, Drop, Say, asking, scripted

TARGET = {"type": "run", "id": "run_1", "name": "score-7", "url": None, "generation": 1}
BEGUN = Say(202, operation(kind="run.execute", target=TARGET))
SCORE = Say(200, job())


def test_a_job_is_made_once_and_reads_a_dataset_or_a_uri() -> None:
    with asking(Drop(), Say(201, job()), Say(201, job())) as (server, platform):
        made = platform.create_job("score", "iris", "flowers", on_error="fail")
        platform.create_job("score", "iris", "https://example.com/a.csv")
    assert (made.name, made.model, made.input, made.last_run) == ("score", "iris", {"dataset": "flowers"}, None)
    lost, again, other = server.seen
    assert lost.headers["idempotency-key"] == again.headers["idempotency-key"]
    expected = {"name": "score", "model": "iris", "input": {"dataset": "flowers"}, "on_error": "fail"}
    assert json.loads(again.body) == expected
    assert json.loads(other.body)["input"] == {"uri": "https://example.com/a.csv"}


def test_a_run_is_begun_and_waited_for_across_lost_connections() -> None:
    ended = Say(200, run("succeeded", rows_in=100))
    with asking(SCORE, BEGUN, Say(200, run()), Say(200, run("running")), Drop(), ended) as (server, platform):
        begun = platform.jobs.get("score").run(input="other", env={"A": "1"})
        assert (begun.number, begun.has_ended, begun.progress["percent"]) == (7, False, 10.0)
        assert begun.wait().rows_in == 100
    assert json.loads(server.seen[1].body) == {"input": {"dataset": "other"}, "env": {"A": "1"}}
    assert server.seen[2].path == "/api/v1/jobs/score/runs/run_1"
    assert server.seen[3].path.startswith("/api/v1/jobs/score/runs/run_1:wait?timeout=")


def test_a_run_that_ends_otherwise_says_why() -> None:
    why = problem(422, code="too_many_bad_rows", detail="line 7: 'x' is no number")
    failed, stopped = Say(200, run("failed", error=why)), Say(200, run("stopped", message=None))
    with asking(Say(200, run()), failed, Say(200, run()), stopped, Say(200, run("paused"))) as (_, platform):
        with pytest.raises(RunFailed) as wrong:
            platform.runs.get("run_1").wait()
        with pytest.raises(RunStopped, match="run 7 of job score stopped"):
            platform.runs.get("run_1").wait()
        with pytest.raises(WaitTimeout, match=r"run 7 of job score \(paused\) is not done"):
            platform.runs.get("run_1").wait(0)
    assert (wrong.value.code, wrong.value.run["id"]) == ("too_many_bad_rows", "run_1")
    assert str(wrong.value).splitlines()[0] == "run 7 of job score failed: line 7: 'x' is no number"


def test_each_verb_goes_to_its_own_place() -> None:
    verbs = [Say(202, operation(kind=f"run.{verb}", target=TARGET)) for verb in ("pause", "resume", "stop")]
    answers = (
        Say(200, {"output": None}),
        Say(200, {"chunks": 3}),
        Say(200, {"line": 1}),
        Say(200, {"done": True}),
        SCORE,
    )
    with asking(SCORE, Say(200, run()), *verbs, *answers, Say(200, {"items": [run()]})) as (server, platform):
        score = platform.jobs.get("score")
        last = score.get_run()
        kinds = [ask().kind for ask in (last.pause, last.resume, last.stop)]
        assert (last.result(), last.metrics()) == ({"output": None}, {"chunks": 3})
        assert last.logs(tail_bytes=9) == '{"line": 1}'
        last.delete()
        score.update(version="2")
        assert [each.number for each in score.all_runs(status="queued")] == [7]
    assert kinds == ["run.pause", "run.resume", "run.stop"]
    where = "/api/v1/jobs/score/runs/run_1"
    assert [(seen.method, seen.path) for seen in server.seen[1:]] == [
        ("GET", "/api/v1/jobs/score/runs/latest"),
        *(("POST", f"{where}:{verb}") for verb in ("pause", "resume", "stop")),
        ("GET", f"{where}/result"),
        ("GET", f"{where}/metrics"),
        ("GET", f"{where}/logs?tail_bytes=9"),
        ("DELETE", where),
        ("PATCH", "/api/v1/jobs/score"),
        ("GET", "/api/v1/jobs/score/runs?status=queued"),
    ]


def test_a_job_goes_with_its_runs_where_that_is_asked_for() -> None:
    gone = Say(202, operation(kind="job.delete"))
    with asking(SCORE, gone) as (server, platform):
        assert platform.jobs.get("score").delete(cascade=True).kind == "job.delete"
    assert server.seen[1].path == "/api/v1/jobs/score?cascade=true"


async def test_the_same_with_asyncio() -> None:
    with scripted(Say(201, job()), BEGUN, Say(200, run()), Say(200, run("succeeded"))) as server:
        async with AsyncPortside(server.url, retries=QUICK) as platform:
            begun = await (await platform.create_job("score", "iris", "flowers")).run()
            assert (await begun.wait()).status == "succeeded"
