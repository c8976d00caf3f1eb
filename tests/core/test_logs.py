"""A line of the log says what it is about, and stays one line."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.clock import from_rfc3339
from core.logs import (
    JsonFormatter,
    LogFile,
    LogFormat,
    current_request_id,
    log_context,
    note_in_log_context,
    set_up_logs,
)

log = logging.getLogger("tests.logs")


@pytest.fixture
def restored() -> Iterator[None]:
    """The root logger as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def written(folder: Path, log_format: LogFormat) -> Path:
    file = folder / "logs" / "portside.log"
    set_up_logs("info", file, log_format)
    return file


@pytest.mark.usefixtures("restored")
def test_a_json_line_has_time_level_logger_message_and_the_ids_around_it(tmp_path: Path) -> None:
    file = written(tmp_path, "json")
    with log_context(request_id="req_1", tenant_id="ten_1"), log_context(operation_id="op_1", resource_name="Öl & 1"):
        log.warning("it %s", "waits")
    log.info("alone")
    first, second = map(json.loads, file.read_text("utf-8").splitlines())
    from_rfc3339(first.pop("time"))
    assert first == {
        "level": "warning",
        "logger": "tests.logs",
        "message": "it waits",
        "request_id": "req_1",
        "tenant_id": "ten_1",
        "operation_id": "op_1",
        "resource_name": "Öl & 1",
    }
    assert second.keys() == {"time", "level", "logger", "message"}


@pytest.mark.usefixtures("restored")
def test_a_pretty_line_has_the_ids_behind_the_message(tmp_path: Path) -> None:
    file = written(tmp_path, "pretty")
    with log_context(request_id="req_1", resource_name="two words"):
        log.info("done")
    line = file.read_text("utf-8")
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z INFO    tests\.logs: done  request_id=req_1 resource_name="two words"\n',
        line,
    )


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("log_format", ["json", "pretty"])
def test_a_message_with_line_breaks_cannot_pose_as_another_line(tmp_path: Path, log_format: LogFormat) -> None:
    file = written(tmp_path, log_format)
    log.info("GET /a\n2026-01-31T12:00:00.000Z INFO    api.edge: GET /b")
    assert len(file.read_text("utf-8").splitlines()) == 1


def test_an_exception_is_text_within_the_line() -> None:
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, None)
    try:
        int("no\nnumber")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["exception"].startswith("Traceback (most recent call last):\n")


def test_a_full_disk_under_the_log_is_one_line_until_there_is_room_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_file = LogFile(tmp_path / "a.log", encoding="utf-8")
    record = logging.LogRecord("a", logging.INFO, "", 0, "something", None, None)
    with closing(log_file), io.TextIOWrapper(Path("/dev/full").open("wb", buffering=0), write_through=True) as full:
        for _ in range(2):
            with_room = log_file.setStream(full)
            assert with_room is not None
            for _ in range(3):
                log_file.emit(record)
            told = f"The log {tmp_path / 'a.log'} cannot be written (No space left on device); the rest goes on.\n"
            assert capsys.readouterr().err == told
            log_file.setStream(with_room)
            log_file.emit(record)
    assert (tmp_path / "a.log").read_text() == "something\n" * 2


async def test_a_task_carries_the_ids_of_who_started_it_and_ends_with_its_own() -> None:
    async def child() -> str | None:
        await asyncio.sleep(0)
        return current_request_id()

    with log_context(request_id="req_1"):
        task = asyncio.create_task(child())
    assert current_request_id() is None
    assert await task == "req_1"


def test_what_is_learnt_within_a_context_ends_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "m", None, None)
    with log_context(request_id="req_1"):
        note_in_log_context(operation_id="op_1")
        assert json.loads(JsonFormatter().format(record))["operation_id"] == "op_1"
    assert "operation_id" not in json.loads(JsonFormatter().format(record))
