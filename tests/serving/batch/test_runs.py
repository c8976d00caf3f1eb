"""A real child against a ledger: killed, told to end, left alone, it writes each row once and in order."""

import gzip
import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from serving.batch import command
from serving.batch.run import GRACE_S
from tests.serving.batch.platform_side import DEADLINE_S, Child, Ledger, Platform, Report, with_limits, with_small_steps
from tests.serving.batch.runs import csv_format, table_plan

ROWS, CHUNK_ROWS = 40_000, 2048
KILLS = int(os.environ.get("PORTSIDE_BATCH_KILLS", "10"))
SEED = int(os.environ.get("PORTSIDE_BATCH_SEED", "7"))
END_S = 1.5  # from a signal to the end, always: then the node kills

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flowers, of which every thousandth is none."""
    chance = random.Random(SEED)
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("id,sl,sw,pl,pw\n")
        for at in range(ROWS):
            values = [f"{chance.uniform(0, 8):.2f}" for _ in range(4)]
            if at % 1000 == 999:
                values[at // 1000 % 4] = "none at all"
            out.write(f'"n\n{at}",{",".join(values)}\n' if at % 500 == 0 else f"n{at},{','.join(values)}\n")
    return file


@pytest.fixture
def plan(rows: Path) -> dict[str, object]:
    format_ = csv_format(id="string", sl="float64", sw="float64", pl="float64", pw="float64")
    return table_plan(rows, format_, pass_through=["id"], chunk_rows=CHUNK_ROWS, parallelism=2, rows=ROWS)


@pytest.fixture
def platform(repository_root: Path, examples: Path, tmp_path: Path) -> Platform:
    return Platform(repository_root, examples / "iris.onnx", tmp_path)


def test_a_run_that_is_killed_again_and_again_writes_the_very_bytes(
    platform: Platform, plan: Mapping[str, object]
) -> None:
    undisturbed = Ledger()
    ended = platform.run(plan, undisturbed)
    sums = {"type": "finished", "rows_in": ROWS, "rows_out": ROWS - 40, "bad": 40, "chunks": 20}
    assert ended.told("finished") == sums
    assert not any((platform.folder / "chunks").iterdir())
    assert [each["line"] for each in undisturbed.bad_rows][:3] == [1003, 2005, 3007]
    lines = [line.partition("Z ")[2] for line in ended.log.splitlines()]
    assert lines[0] == f"began: model model 1; {ROWS:,} rows, 2,048 in a chunk, 2 at a time"
    assert lines[1] == "bad row: line 1003, sl: 'none at all' is not a number"
    tenths = [line.partition("0 %: ")[0] for line in lines if "0 %: " in line]
    assert tenths == [str(tenth) for tenth in range(1, 11)]
    assert lines[-1].startswith("ended: 40,000 rows, 39,960 scored, 40 bad, ")
    chance, kills = random.Random(SEED), 0
    while kills < KILLS:
        ledger, last = Ledger(), None
        while last is None or last.status != 0:
            after_s = chance.uniform(-0.3, 1.0) * ended.seconds if kills < KILLS else None
            last = platform.run(plan, ledger, kill_after_s=after_s)
            kills += last.status == -signal.SIGKILL
        assert ledger.parts == undisturbed.parts
        assert ledger.bad == undisturbed.bad
        assert last.told("finished") == sums


def test_a_run_ends_soon_after_it_is_told_to_and_goes_on_where_it_was(
    platform: Platform, plan: Mapping[str, object]
) -> None:
    ledger = Ledger()
    told = [0]

    def after_two_chunks(report: Report) -> int | None:
        told[0] += report["type"] == "chunk"
        return signal.SIGTERM if told[0] == 2 else None

    unhurried = replace(platform, program=with_limits(grace_s=GRACE_S, last_s=DEADLINE_S))
    paused = unhurried.run(plan, ledger, ends=after_two_chunks)
    assert paused.status == 0
    assert paused.reports[-1] == {"type": "paused"}
    assert 2 <= len(ledger.chunks) < 20
    resumed = platform.run(plan, ledger)
    assert resumed.told("finished")["rows_in"] == ROWS
    assert "told to end" in paused.log
    assert "goes on behind row" in resumed.log
    assert b"".join(ledger.parts).count(b'"n') == ROWS - 40


def test_a_run_that_goes_on_late_in_a_packed_file_says_that_it_is_on_its_way_there(
    platform: Platform, tmp_path: Path
) -> None:
    chance, file = random.Random(SEED), tmp_path / "rows.csv.gz"
    with gzip.open(file, "wt", compresslevel=1, encoding="ascii") as out:
        out.write("id,sl,sw,pl,pw\n")
        out.writelines(f"{chance.randbytes(4000).hex()},5.1,3.5,1.4,0.2\n" for _ in range(2000))
    format_ = csv_format(id="string", sl="float64", sw="float64", pl="float64", pw="float64")
    packed = format_ | {"compression": "gzip"}
    plan, ledger = table_plan(file, packed, pass_through=["id"], chunk_rows=1000, rows=2000), Ledger()
    assert platform.run(plan, ledger).status == 0
    del ledger.chunks[1:]
    ended = replace(platform, program=with_small_steps()).run(plan, ledger)
    assert ended.told("finished")["rows_in"] == 2000
    assert ended.reports.count({"type": "progress", "rows": 1000}) > 2


def test_a_run_that_waits_for_the_platform_ends_in_time_too(platform: Platform, plan: Mapping[str, object]) -> None:
    ledger = Ledger()
    unhurried = replace(platform, program=with_limits(grace_s=0.1, last_s=DEADLINE_S))
    ended = unhurried.run(plan, ledger, ends=_at_a_chunk, keeps=False)
    assert ended.status == 0
    assert ended.reports[-1] == {"type": "paused"}
    assert len([each for each in ended.reports if each["type"] == "chunk"]) <= 6
    assert platform.run(plan, ledger).told("finished")["chunks"] == 20


def test_a_run_that_does_not_get_to_its_end_is_ended_by_the_kernel(
    platform: Platform, plan: Mapping[str, object]
) -> None:
    waiting = replace(platform, program=with_limits(grace_s=DEADLINE_S, last_s=0.1))
    assert waiting.run(plan, Ledger(), ends=_at_a_chunk, keeps=False).status == -signal.SIGALRM
    assert GRACE_S < command._LAST_S < END_S


def test_a_run_that_is_still_loading_ends_in_time(platform: Platform, plan: Mapping[str, object]) -> None:
    with Child(platform.root, platform.model, plan, platform.folder / "chunks") as child:
        deadline = time.monotonic() + DEADLINE_S
        while not _has_mapped(child.process.pid, b"libarrow"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.process.send_signal(signal.SIGTERM)
        status, _ = child.ended()
    assert status in (0, -signal.SIGTERM, -signal.SIGALRM)  # by itself, or by the kernel where it hears nothing yet


def test_a_run_whose_platform_has_gone_ends_at_once(platform: Platform, plan: Mapping[str, object]) -> None:
    with Child(platform.root, platform.model, plan, platform.folder / "chunks") as child:
        while not (reports := child.reports(time.monotonic() + DEADLINE_S)):
            assert reports is not None
        assert reports[0]["type"] == "started"
        child.hang_up()
        while (reports := child.reports(time.monotonic() + DEADLINE_S)) is not None:
            assert {each["type"] for each in reports} <= {"chunk", "progress"}
        assert child.ended()[0] == 0


def test_a_run_that_meets_what_should_not_happen_ends_with_its_trace(
    platform: Platform, plan: Mapping[str, object]
) -> None:
    with Child(platform.root, platform.model, plan, platform.folder / "chunks") as child:
        child.look_away()
        status, said = child.ended()
    assert status == 70
    assert "BrokenPipeError" in said


@pytest.mark.parametrize(
    ("on_error", "ends"),
    [
        (
            {"policy": "fail"},
            "2 rows are bad so far, and none may be: line 1003, sl: 'none at all' is not a number; line 2005",
        ),
        ({"policy": "limit", "limit": 2}, "4 rows are bad so far, and 2 may be"),
    ],
)
def test_too_many_bad_rows_end_a_run_and_the_first_are_told(
    platform: Platform, plan: Mapping[str, object], on_error: Mapping[str, object], ends: str
) -> None:
    ledger = Ledger()
    ended = platform.run({**plan, "on_error": on_error}, ledger)
    assert ended.status == 65
    problem = ended.told("failed")["problem"]
    assert isinstance(problem, dict)
    assert problem["code"] == "too_many_bad_rows"
    assert ends in problem["detail"]
    assert "Z failed (too_many_bad_rows): " in ended.log
    assert problem["first"][0]["line"] == 1003
    kept = sum(int(str(each["bad"])) for each in ledger.chunks)
    assert kept <= int(str(on_error.get("limit", 0)))


def test_what_cannot_be_run_says_why(platform: Platform, plan: Mapping[str, object], tmp_path: Path) -> None:
    no_model = tmp_path / "model.onnx"
    no_model.write_bytes(b"PK")
    refused = Platform(platform.root, no_model, platform.folder).run(plan, Ledger())
    assert _code(refused.told("failed")) == "model_refused"
    assert _code(platform.run({**plan, "pass_through": ["name"]}, Ledger()).told("failed")) == "mapping_invalid"
    assert _code(platform.run({"input": {}}, Ledger()).told("failed")) == "plan_invalid"


def _at_a_chunk(report: Report) -> int | None:
    return signal.SIGTERM if report["type"] == "chunk" else None


def _code(report: Report) -> object:
    problem = report["problem"]
    assert isinstance(problem, dict)
    return problem["code"]


def _has_mapped(pid: int, library: bytes) -> bool:
    """How far a process' imports have come, from outside."""
    return library in Path(f"/proc/{pid}/maps").read_bytes()


def test_hundreds_of_text_columns_pass_through_within_the_memory_limit(platform: Platform, tmp_path: Path) -> None:
    names = [f"t{place}" for place in range(1000)]
    file, cells = tmp_path / "wide.csv", ",".join(["abcdefgh"] * len(names))
    file.write_text(f"sl,sw,pl,pw,{','.join(names)}\n" + f"1,2,3,4,{cells}\n" * 1200, "utf-8")
    format_ = csv_format(**dict.fromkeys(("sl", "sw", "pl", "pw"), "float64"), **dict.fromkeys(names, "string"))
    plan = table_plan(file, format_, pass_through="*", mapping={"float_input": ["sl", "sw", "pl", "pw"]})
    told: list[Report] = []
    with Child(platform.root, platform.model, plan, tmp_path / "chunks", "--memory-mb", "2048") as child:
        deadline = time.monotonic() + DEADLINE_S
        while (found := child.reports(deadline)) is not None:
            assert time.monotonic() < deadline
            told += found
            for each in found:
                if each["type"] == "chunk":
                    child.acknowledge(each["chunk"])
        child.ended()
    assert (told[-1]["type"], told[-1].get("rows_out")) == ("finished", 1200), told[-1]
