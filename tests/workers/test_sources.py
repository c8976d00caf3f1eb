"""Versions that come from a URL: fetched in a lane of their own, then inspected as any other, whoever dies."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from core.failpoints import arm
from state.cataloguing import Description, NewVersion, add_version, create_model
from state.queries import operations
from state.sweeping import doom
from state.tables import Operation
from tests.workers.installation import Installation
from tests.workers.platform import WHO, Platform, open_platform, wait_for
from tests.workers.sources import open_source
from workers.executor import Handler
from workers.handlers.models import inspect
from workers.handlers.sources import guard
from workers.outcomes import Done, Outcome
from workers.resources import Held, Resources

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ONNX = (EXAMPLES / "iris.onnx").read_bytes()
DIGEST = f"sha256:{hashlib.sha256(ONNX).hexdigest()}"


async def fetch_only(held: Held, resources: Resources) -> Outcome:
    """The real handler as long as it fetches; the inspection itself, which needs a child, is done at once."""
    assert isinstance(held.row, Operation)
    return await inspect(held, resources) if held.claim.lane == "fetch" else Done()


HANDLERS: dict[str, Handler] = {"version.inspect": fetch_only}


async def submitted(platform: Platform, url: str, *, name: str = "iris", is_a: str | None = None) -> Operation:
    """What the API writes for a new version of a new model."""
    async with platform.database.write() as session:
        model = await create_model(session, WHO, name, Description())
        _, operation = await add_version(session, WHO, model, NewVersion(source_uri=url, type=is_a))
    return operation


async def inspected(platform: Platform, operation: Operation) -> Operation:
    """The operation after an inspection in a child, whose libraries may come from a cold disk."""
    return await platform.until(operation, "succeeded", "failed")


async def test_a_version_is_fetched_and_then_inspected_in_the_lane_of_inspections(platform: Platform) -> None:
    await platform.start({"version.inspect": inspect})
    async with open_source(ONNX, cuts=[500]) as source:
        operation = await submitted(platform, source.url, is_a="onnx")
        assert operation.lane == "fetch"
        done = await inspected(platform, operation)
    version = await platform.target_of(operation)
    assert (version.status, version.digest, version.size_bytes) == ("ready", DIGEST, len(ONNX))
    assert (version.format, version.task) == ("onnx", "classification")
    assert (done.lane, done.attempt) == ("control", 1)
    assert source.ranges_asked == [None, "bytes=500-"]


async def test_what_it_turns_out_to_be_must_be_what_its_owner_said(platform: Platform) -> None:
    await platform.start({"version.inspect": inspect})
    async with open_source(ONNX) as source:
        failed = await inspected(platform, await submitted(platform, source.url, is_a="pmml"))
    assert failed.error is not None
    assert failed.error["errors"][0]["pointer"] == "/type"


async def test_a_file_that_is_no_model_names_the_field_that_led_to_it(platform: Platform) -> None:
    await platform.start({"version.inspect": inspect})
    async with open_source(b"<html><body>Please log in</body></html>") as source:
        operation = await submitted(platform, source.url)
        failed = await inspected(platform, operation)
    assert failed.error is not None
    assert failed.error["errors"][0]["pointer"] == "/source_uri"
    assert (await platform.target_of(operation)).status == "invalid"


async def test_a_refusal_ends_it_at_once_and_a_retry_fetches_what_is_there_by_then(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_source(ONNX, statuses=["404 Not Found", "200 OK"]) as source:
        operation = await submitted(platform, source.url)
        failed = await platform.until(operation, "failed")
        version = await platform.target_of(operation)
        assert (failed.attempt, version.status, version.reason) == (1, "invalid", "source_refused")
        async with platform.database.write() as session:
            await operations.retry(session, WHO, operation.id)
        await platform.until(operation, "succeeded")
    assert (await platform.target_of(operation)).digest == DIGEST


async def test_a_retry_forgets_the_file_that_was_refused(platform: Platform) -> None:
    await platform.start({"version.inspect": inspect})
    async with open_source(b"no model", ONNX) as source:
        operation = await submitted(platform, source.url)
        await inspected(platform, operation)
        assert (await platform.target_of(operation)).digest != ""
        async with platform.database.write() as session:
            assert (await operations.retry(session, WHO, operation.id)).lane == "fetch"
        await inspected(platform, operation)
    version = await platform.target_of(operation)
    assert (version.status, version.digest) == ("ready", DIGEST)


@pytest.mark.parametrize(
    "point", ["put_before_rename", "blob_before_touch", "blob_before_version", "commit_before_signal"]
)
async def test_a_fetch_that_fails_at_any_step_is_made_again(data: Path, point: str) -> None:
    # A claim that was committed and that nobody heard of is nobody's until its lease is over.
    async with open_platform(data, is_migrated=True, lease_s=2.0) as platform, open_source(ONNX) as source:
        operation = await submitted(platform, source.url)
        arm(f"{point}=raise@1")
        try:
            await platform.start(HANDLERS)
            await platform.until(operation, "succeeded")
        finally:
            arm(None)
        assert (await platform.target_of(operation)).digest == DIGEST
        assert [str(digest) async for digest in platform.resources.store.list()] == [DIGEST]


async def test_what_the_source_took_is_not_taken_from_the_inspection(platform: Platform) -> None:
    async with open_source(ONNX) as source:
        operation = await submitted(platform, source.url)
        await platform.set_operation(operation.id, quietly=True, attempt=4)
        await platform.start(HANDLERS)
        done = await platform.until(operation, "succeeded")
    assert (done.lane, done.attempt) == ("control", 1)


async def test_a_source_that_stays_away_is_told_as_such_after_the_last_attempt(platform: Platform) -> None:
    async with open_source(b"", statuses=["503 Busy"]) as source:
        operation = await submitted(platform, source.url)
        await platform.set_operation(operation.id, quietly=True, attempt=4)
        await platform.start(HANDLERS)
        failed = await platform.until(operation, "failed")
    assert failed.error is not None
    assert (failed.attempt, failed.error["code"], len(source.asked)) == (5, "source_unavailable", 5)


async def test_the_bytes_of_a_version_are_in_use_as_soon_as_it_names_them(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_source(ONNX) as source:
        await platform.until(await submitted(platform, source.url), "succeeded")
    async with platform.database.write() as session:
        assert await doom(session, 2**62) == 0


async def test_a_cancel_reaches_a_fetch_that_waits_for_its_source(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_source(ONNX, stall=asyncio.Event()) as source:
        operation = await submitted(platform, source.url)
        running = await platform.until_true(operation, lambda found: found.progress is not None)
        assert running.progress is not None  # how much came with the first piece is the network's business
        assert (running.progress["stage"], running.progress["detail"][1:]) == ("fetching", " of 7 kB")
        async with platform.database.write() as session:
            await operations.request_cancel(session, WHO, operation.id)
        await platform.until(operation, "canceled")
    version = await platform.target_of(operation)
    assert (version.status, version.reason, version.digest) == ("invalid", "canceled", "")


async def test_slow_sources_hold_up_no_inspection_of_an_upload(data: Path) -> None:
    async with open_platform(data, is_migrated=True, lanes="control=1,fetch=1") as platform:
        await platform.start(HANDLERS)
        async with open_source(ONNX, stall=asyncio.Event()) as source:
            slow = await submitted(platform, source.url, name="slow")
            await wait_for(lambda: len(source.asked) == 1)
            await submitted(platform, source.url, name="behind")
            await platform.until(await platform.operation(), "succeeded")
            assert (await platform.now(slow)).status == "running"


async def test_a_worker_that_stops_hands_a_fetch_to_the_next_one(platform: Platform) -> None:
    first = await platform.start(HANDLERS)
    async with open_source(ONNX, stall=asyncio.Event()) as source:
        operation = await submitted(platform, source.url)
        await wait_for(lambda: len(source.asked) == 1)
        await first.stop(0.0)
        source.stall = None
        await platform.start(HANDLERS)
        done = await platform.until(operation, "succeeded")
    assert (done.attempt, len(source.asked)) == (1, 2)


async def test_whoever_inspects_is_woken_by_whoever_has_fetched(installation: Installation) -> None:
    await installation.worker(HANDLERS, lanes="fetch=1")
    await installation.worker(HANDLERS, lanes="control=1")  # neither ever looks by itself
    async with open_source(ONNX) as source:
        operation = await submitted(installation.api, source.url)
        await installation.api.until(operation, "succeeded")
    assert (await installation.api.target_of(operation)).digest == DIGEST


async def test_private_addresses_are_opened_by_a_setting_of_their_own(platform: Platform) -> None:
    def reached(**said: object) -> str:
        return guard(platform.resources.settings.model_copy(update=said)).reach

    assert (reached(), reached(host="0.0.0.0")) == ("loopback", "public")
    assert (reached(require_token=True), reached(database_url="postgresql://db/portside")) == ("public", "public")
    assert reached(require_token=True, allow_private_sources=True) == "all"
    assert reached(host="0.0.0.0", allow_private_webhooks=True) == "public"
    assert (reached(allow_private_sources=False), reached(allow_private_sources=True)) == ("public", "all")


async def test_a_disk_without_room_to_unpack_is_told_as_ours_and_not_the_files(tmp_path: Path) -> None:
    refusal = '{"code": "disk_full", "message": "there is no room", "hint": "Make room."}'
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho '{refusal}'\nexit 65\n", "utf-8")
    interpreter.chmod(0o700)
    async with (
        open_platform(tmp_path, serving_python=str(interpreter)) as platform,
        open_source(ONNX) as source,
    ):
        await platform.start({"version.inspect": inspect})
        failed = await inspected(platform, await submitted(platform, source.url))
    assert failed.error is not None
    assert (failed.error["status"], failed.error["code"]) == (507, "disk_full")
    assert failed.error["detail"] == "there is no room. Make room."
