"""Schedules over the API: how they are said, shown, changed, refused. What fires: `tests/state/test_ticking.py`."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from state.advance import lock
from state.jobtables import Job
from state.ticking import decide
from tests.api.jobs import FITTING, FLOWERS, JOBS, end_work, make_job, prepared
from tests.api.platform import is_problem

SCHEDULE = f"{FLOWERS}/schedule"
NIGHTLY = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}


@pytest.fixture(autouse=True)
async def _world(context: Context) -> None:
    await prepared(context)


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def test_a_job_is_made_with_a_schedule_that_shows_its_next_five_ticks(client: AsyncClient) -> None:
    shown = (await make_job(client, schedule=NIGHTLY)).json()["schedule"]
    assert (await client.get(SCHEDULE)).json() == shown
    expected = {**NIGHTLY, "every_s": None, "at": None, "catch_up": "last", "overlap": "skip", "paused": False}
    assert {name: shown[name] for name in expected} == expected
    assert len(shown["next"]) == 5
    assert shown["next_at"] == shown["next"][0]
    assert {tick[11:16] for tick in shown["next"]} <= {"00:30", "01:30"}  # 02:30 in Berlin, summer and winter
    assert (await make_job(client, "plain")).json()["schedule"] is None
    assert is_problem(await client.get(f"{JOBS}/plain/schedule"), 404, "not_found")


async def test_a_schedule_is_put_changed_paused_resumed_and_taken_away(client: AsyncClient) -> None:
    await make_job(client)
    put = await client.put(SCHEDULE, json={"every": "15m", "jitter": 30})
    assert (put.status_code, put.json()["every_s"], put.json()["jitter_s"]) == (200, 900, 30)
    patched = (await client.patch(FLOWERS, json={"schedule": {"overlap": "queue", "jitter": None}})).json()["schedule"]
    assert (patched["every_s"], patched["overlap"], patched["jitter_s"]) == (900, "queue", 0)
    nightly = (await client.patch(FLOWERS, json={"schedule": NIGHTLY})).json()["schedule"]
    assert (nightly["every_s"], nightly["cron"], nightly["overlap"]) == (None, "30 2 * * *", "queue")
    paused = (await client.post(f"{SCHEDULE}:pause")).json()
    assert (paused["paused"], paused["next"], paused["next_at"]) == (True, [], None)
    assert (await client.post(f"{SCHEDULE}:pause")).json() == paused
    resumed = (await client.post(f"{SCHEDULE}:resume")).json()
    assert (resumed["paused"], len(resumed["next"])) == (False, 5)
    assert (await client.delete(SCHEDULE)).status_code == 204
    assert (await client.get(FLOWERS)).json()["schedule"] is None
    assert is_problem(await client.post(f"{SCHEDULE}:pause"), 409, "no_schedule")
    assert (await client.patch(FLOWERS, json={"schedule": {"every": 60}})).json()["schedule"]["every_s"] == 60
    assert (await client.patch(FLOWERS, json={"schedule": None})).json()["schedule"] is None


async def test_a_stale_etag_keeps_a_schedule_as_it_is(client: AsyncClient) -> None:
    stale = (await make_job(client, schedule=NIGHTLY)).headers["etag"]
    await client.post(f"{SCHEDULE}:pause")
    await client.patch(FLOWERS, json={"description": "new"})
    refused = await client.put(SCHEDULE, json={"every": 60}, headers={"If-Match": stale})
    assert is_problem(refused, 412, "stale_etag")
    assert (await client.get(SCHEDULE)).json()["cron"] == "30 2 * * *"


WRONG: Sequence[tuple[Mapping[str, object], str, str]] = (
    ({}, "", "exactly one"),
    ({"cron": "0 2 * * *", "every": "1h"}, "", "exactly one"),
    ({"cron": "0 2 * *"}, "/cron", "five fields"),
    ({"cron": "0 2 * * * *"}, "/cron", "five fields"),
    ({"cron": "0 25 * * *"}, "/cron", "Bad hour"),
    ({"cron": "0 0 30 2 *"}, "/cron", "Bad day-of-month"),
    ({"cron": "0 2 * * *", "time_zone": "Mars/Base"}, "/time_zone", "no time zone"),
    ({"cron": "0 2 * * *", "time_zone": "../../etc/passwd"}, "/time_zone", "no time zone"),
    ({"every": "5s"}, "/every", "10s and 366d"),
    ({"every": True}, "/every", "10s and 366d"),
    ({"every": "1h", "time_zone": "UTC"}, "", "goes with 'cron'"),
    ({"at": "tomorrow"}, "/at", "RFC 3339"),
    ({"at": "2020-01-01T00:00:00Z"}, "", "no tick from now on"),
    ({"every": "1h", "start": "2040-01-01T00:00:00Z", "end": "2039-01-01T00:00:00Z"}, "", "before 'start'"),
    ({"every": "1h", "jitter": "25h"}, "/jitter", "0s and 24h"),
    ({"every": "1h", "overlap": "allow"}, "/overlap", "pattern"),
    ({"every": "1h", "catch_up_limit": 0}, "/catch_up_limit", "greater"),
    ({"every": "1h", "when": "now"}, "/when", "unknown"),
    ({"every": "1h", "start": "9999-12-31T23:59:59-01:00"}, "/start", "RFC 3339"),
    ({"every": "1h", "start": "9999-12-31T00:00:00Z"}, "", "no tick from now on"),
    ({"cron": "0 0 1 1 *", "time_zone": "Asia/Tokyo", "start": "9999-12-31T00:00:00Z"}, "", "no tick from now on"),
)


@pytest.mark.parametrize(("given", "pointer", "why"), WRONG)
async def test_a_schedule_that_cannot_be_is_refused_where_it_is_wrong(
    client: AsyncClient, given: Mapping[str, object], pointer: str, why: str
) -> None:
    at_once = await client.post(JOBS, json={**FITTING, "schedule": given})
    assert at_once.status_code == 422, at_once.text
    assert f"/schedule{pointer}" in [error["pointer"] for error in at_once.json()["errors"]]
    assert why in at_once.text
    await make_job(client)
    assert (await client.put(SCHEDULE, json=given)).status_code == 422


async def test_a_time_that_is_over_is_said_to_be(client: AsyncClient) -> None:
    await make_job(client)
    refused = await client.put(SCHEDULE, json={"at": "2020-01-01T00:00:00Z"})
    assert refused.json()["errors"][0]["hint"] == "'at' is a time to come"


async def test_a_backfill_queues_a_run_for_each_tick_of_the_range_and_ticks_are_listed(
    client: AsyncClient, context: Context
) -> None:
    minute = (datetime.now(UTC).minute + 30) % 60  # no tick of its own comes while we look
    await make_job(client, schedule={"cron": f"{minute} * * * *", "overlap": "queue"}, run_name="of-{date}")
    assert is_problem(
        await client.post(f"{SCHEDULE}:backfill", json={"from": in_hours(0), "to": in_hours(-3)}), 422, "invalid_field"
    )
    wide = await client.post(f"{SCHEDULE}:backfill", json={"from": in_hours(-2000), "to": in_hours(0)})
    assert "more than 1000 ticks" in wide.text
    answer = await client.post(f"{SCHEDULE}:backfill", json={"from": in_hours(-3), "to": in_hours(0)})
    assert (answer.status_code, answer.json()["total"]) == (200, 2)
    for began in (1, 1, 0):
        await end_work(context)
        async with context.database.write() as session:
            job = await lock(session, Job, (await client.get(FLOWERS)).json()["id"])
            assert await decide(session, job.id) == began
    ticks = (await client.get(f"{FLOWERS}/ticks", params={"trigger": "backfill", "order_by": "at"})).json()["items"]
    assert [(tick["outcome"], tick["until"]) for tick in ticks] == [("fired", None)] * 3
    runs = (await client.get(f"{FLOWERS}/runs", params={"order_by": "created_at"})).json()["items"]
    assert [(run["trigger"], run["scheduled_for"]) for run in runs] == [("backfill", tick["at"]) for tick in ticks]
    assert [run["id"] for run in runs] == [tick["run"] for tick in ticks]
    assert [run["name"] for run in runs] == [f"of-{tick['at'][:10]}" for tick in ticks]


async def test_a_backfill_looks_for_no_tick_beyond_its_range(client: AsyncClient) -> None:
    await make_job(client, schedule={"cron": "59 23 * 2 1#5"})  # once in 28 years: in 2044
    began = time.process_time()
    answer = await client.post(f"{SCHEDULE}:backfill", json={"from": "2025-01-01T00:00:00Z", "to": in_hours(0)})
    assert (answer.status_code, answer.json()["total"]) == (200, 0)
    assert time.process_time() - began < 0.7  # a thousand more of them take twice as long


async def test_a_tick_of_a_schedule_starts_a_run(client: AsyncClient, context: Context) -> None:
    job_id = (await make_job(client, schedule={"every": 10})).json()["id"]
    async with context.database.write() as session:
        job = await lock(session, Job, job_id)
        job.scheduled_since = (job.scheduled_since or 0) - 60_000_000  # so that the anchor itself is a tick to come
        assert await decide(session, job_id, job.scheduled_since + 61_000_000) == 1
    (run,) = (await client.get(f"{FLOWERS}/runs")).json()["items"]
    assert (run["trigger"], run["status"]) == ("schedule", "queued")
    (tick,) = (await client.get(f"{FLOWERS}/ticks")).json()["items"]
    assert (tick["outcome"], tick["reason"], tick["run"]) == ("fired", None, run["id"])


async def test_a_patch_leaves_the_ticks_of_an_interval_where_they_are(client: AsyncClient) -> None:
    first = (await make_job(client, schedule={"every": "1d"})).json()["schedule"]["next"]
    patched = (await client.patch(FLOWERS, json={"schedule": {"overlap": "queue", "jitter": "1m"}})).json()["schedule"]
    assert (patched["next"], patched["overlap"]) == (first, "queue")
    assert (await client.put(SCHEDULE, json={"every": "1d"})).json()["next"] != first


async def test_what_is_changed_by_a_pause_has_another_etag(client: AsyncClient) -> None:
    await make_job(client, schedule=NIGHTLY)
    etag = (await client.get(SCHEDULE)).headers["etag"]
    assert (await client.post(f"{SCHEDULE}:pause")).headers["etag"] != etag
    assert (await client.put(SCHEDULE, json=NIGHTLY, headers={"if-match": etag})).status_code == 412
