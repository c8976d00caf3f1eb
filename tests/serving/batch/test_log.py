"""The log of a run is for people: lines with times, few of them, whatever stands in the data."""

import io
from collections.abc import Sequence

from serving.batch.log import RunLog
from serving.batch.plan import BatchFailed, Input, Plan, Resume
from serving.data.formats import BadRow, Position


def lines(out: io.StringIO) -> Sequence[str]:
    return [line.partition("Z ")[2] for line in out.getvalue().splitlines()]


def test_a_line_tells_each_tenth_once_however_many_chunks_there_are() -> None:
    out = io.StringIO()
    log = RunLog(out)
    log.begun(Plan(Input()), Resume(Position(), rows_in=250), 1000, 10)
    for rows in range(260, 1001, 10):
        log.at(rows, 0, [])
    log.ended(1000, 1000, 0)
    told = lines(out)
    assert told[1] == "goes on behind row 250, as the platform has kept those before"
    assert [line.partition(" %")[0] for line in told[2:-1]] == ["30", "40", "50", "60", "70", "80", "90", "100"]


def test_a_long_way_of_unknown_length_is_not_told_with_each_chunk() -> None:
    out = io.StringIO()
    log = RunLog(out)
    log.begun(Plan(Input()), Resume(Position()), None, 10)
    for rows in range(10, 1000, 10):
        log.at(rows, 0, [])
    assert lines(out) == ["began: model model 1; nobody has counted the rows, 10 in a chunk, 1 at a time"]


def test_what_stands_in_a_cell_stays_in_its_line_and_out_of_the_terminal() -> None:
    out = io.StringIO()
    log = RunLog(out)
    log.begun(Plan(Input()), Resume(Position()), 1000, 10)
    log.at(1, 1, [BadRow(0, 2, "a\nb", "'\x1b[2J' is not a number", "")])
    assert lines(out)[1:] == ["bad row: line 2, a�b: '�[2J' is not a number"]


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    out = io.StringIO()
    out.close()
    RunLog(out).failed(BatchFailed("disk_full", "no room"))
