"""The verbs about datasets, jobs, runs and schedules on a real platform: what they print, and how they end."""

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.stack.child import free_port
from tests.e2e.commands import at_a_terminal, data, following, verb
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLACES = "sepal_length,sepal_width,petal_length,petal_width"
ROWS = 2000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the model `iris`, the dataset `flowers` with one bad row, and the jobs `fast` and `slow`."""
    # The port is one that nobody gets by chance while the platform is away.
    with RunningPlatform.start(tmp_path_factory.mktemp("data-verbs"), str(free_port())) as platform:
        data(platform, "models", "upload", str(EXAMPLES / "iris.onnx"), "--features", f"float_input={PLACES}")
        folder = tmp_path_factory.mktemp("files")
        data(platform, "datasets", "create", str(flowers(folder)))
        data(platform, "jobs", "create", "fast", "-m", "iris", "-i", "flowers", "--pass", "id")
        (folder / "slow.yaml").write_text("name: slow\nmodel: iris\ninput: {dataset: flowers}\nchunk_rows: 1\n")
        data(platform, "jobs", "create", "-f", str(folder / "slow.yaml"))
        yield platform


def flowers(folder: Path) -> Path:
    rows = [f"{number},5.1,3.5,1.4,0.2" for number in range(ROWS)]
    rows[7] = "7,oops,3.5,1.4,0.2"
    file = folder / "flowers.csv"
    file.write_text("\n".join([f"id,{PLACES}", *rows, ""]))
    return file


def status_of(running: RunningPlatform, run: str) -> str:
    return str(json.loads(data(running, "runs", "show", run, "--json"))["status"])


def rows_of(running: RunningPlatform, run: str) -> int | None:
    return json.loads(data(running, "runs", "show", run, "--json"))["rows_in"] or None


def begun(running: RunningPlatform, job: str) -> str:
    run = data(running, "jobs", "run", job, "--no-wait", "-o", "name").strip()
    until(lambda: rows_of(running, run), 60, "the first chunk")
    return run


def test_a_dataset_is_made_looked_into_downloaded_and_deleted(
    running: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Odd näme (1).csv").write_text('a,"b\n[c]"\n1,[red]x\n2,\n')
    told = data(running, "datasets", "create", "Odd näme (1).csv", "--name", "odd")
    assert ("status    ready" in told, "rows      2" in told) == (True, True)
    assert json.loads(data(running, "datasets", "show", "odd", "--json"))["columns"][1]["nulls"] == 1
    assert "[red]x" in data(running, "datasets", "preview", "odd", "-n", "1")
    assert json.loads(data(running, "datasets", "preview", "odd", "-o", "json"))["rows"] == [[1, "[red]x"], [2, None]]
    assert data(running, "datasets", "download", "odd") == "odd.csv\n"
    assert (tmp_path / "odd.csv").read_bytes() == (tmp_path / "Odd näme (1).csv").read_bytes()
    assert verb(running, "datasets", "download", "odd").exit_status == 2
    again = verb(running, "datasets", "create", "odd.csv")
    assert (again.exit_status, "nothing was sent" in again.err) == (4, True)
    assert verb(running, "datasets", "delete", "odd").exit_status == 2
    data(running, "datasets", "rm", "odd", "--yes")
    assert verb(running, "datasets", "show", "odd").exit_status == 3


def test_files_of_a_dataset_are_listed_put_got_and_removed(running: RunningPlatform, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("a/one.txt", "1")
    data(running, "datasets", "create", str(tmp_path / "notes.zip"), "--files")
    (tmp_path / "two.txt").write_text("22")
    data(running, "datasets", "put", "notes", str(tmp_path / "two.txt"), "--as", "b/two.txt")
    listed = json.loads(data(running, "datasets", "files", "notes", "--json"))
    assert [(each["path"], each["size_bytes"]) for each in listed] == [("a/one.txt", 1), ("b/two.txt", 2)]
    got = tmp_path / "got.txt"
    assert data(running, "datasets", "get", "notes", "b/two.txt", "-o", str(got)) == f"{got}\n"
    assert got.read_text() == "22"
    data(running, "datasets", "remove", "notes", "a/one.txt")
    assert verb(running, "datasets", "get", "notes", "a/one.txt", "-o", str(got)).exit_status == 3


def test_a_run_is_watched_and_leaves_a_result_bad_rows_figures_and_a_log(
    running: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = verb(running, "jobs", "run", "fast", "--name", "first")
    assert (done.exit_status, "\x1b" in done.err) == (0, False), done.err
    assert "bad rows  1 in dataset fast-1-bad" in done.out
    assert "begun by  hand, " in done.out
    run = data(running, "runs", "ls", "fast", "-o", "name").strip()
    assert run == "fast/1", "what other verbs take"
    assert data(running, "runs", "download", run) == "fast-1.csv\n"
    assert (tmp_path / "fast-1.csv").read_text().startswith('"id","label",')
    data(running, "runs", "download", "fast", "--bad-rows", "-o", "bad.jsonl")
    assert json.loads((tmp_path / "bad.jsonl").read_text())["line"] == 9
    assert "rows out      1,999" in data(running, "runs", "metrics", run)
    log = data(running, "runs", "logs", run).splitlines()
    assert "began: model iris 1; 2,000 rows, " in log[0]
    assert "bad row: line 9, sepal_length: 'oops' is not a number" in log[1]
    assert "ended: 2,000 rows, 1,999 scored, 1 bad, " in log[-1]
    assert verb(running, "runs", "stop", run, "--yes").exit_status == 4, "it has ended"


def test_a_result_of_several_parquet_files_is_downloaded_as_a_zip(
    running: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("chunk_rows: 1000\noutput: {format: parquet}\n")
    data(running, "jobs", "create", "parts", "-f", "job.yaml", "-m", "iris", "-i", "flowers", "-q")
    data(running, "jobs", "run", "parts", "-q")
    assert data(running, "runs", "download", "parts") == "parts-1.zip\n"
    with zipfile.ZipFile("parts-1.zip") as archive:
        assert archive.namelist() == ["parts-1-00001.parquet", "parts-1-00002.parquet"]
    again = verb(running, "runs", "download", "parts")
    assert (again.exit_status, "-o FILE" in again.err) == (2, True)


def test_a_run_is_paused_resumed_and_stopped(running: RunningPlatform) -> None:
    run = begun(running, "slow")
    progress = json.loads(data(running, "runs", "show", run, "--json"))["progress"]
    assert (progress["rows_total"], progress["percent"] is not None) == (ROWS, True)
    assert verb(running, "runs", "delete", run, "--yes").exit_status == 4, "it is under way"
    assert verb(running, "datasets", "delete", "flowers", "--yes").exit_status == 4, "it is read"
    waited = verb(running, "runs", "watch", run, "--timeout", "0.01")
    assert (waited.exit_status, f"next: portside runs watch {run}" in waited.err) == (124, True)
    assert "status    paused" in data(running, "runs", "pause", run)
    assert "status    paused" in data(running, "runs", "watch", run), "it rests"
    data(running, "runs", "resume", run)
    assert "stopped" in data(running, "runs", "stop", run, "--yes")
    watched = verb(running, "runs", "watch", run)
    assert (watched.exit_status, "was stopped" in watched.err) == (4, True)
    data(running, "runs", "rm", run, "--yes")
    assert verb(running, "runs", "show", run).exit_status == 3


def test_a_run_that_fails_ends_the_verb_with_its_reason_and_the_next_step(running: RunningPlatform) -> None:
    data(running, "jobs", "create", "strict", "-m", "iris", "-i", "flowers", "--on-error", "fail")
    failed = verb(running, "jobs", "run", "strict")
    assert failed.exit_status == 1
    assert "line 9, sepal_length: 'oops' is not a number" in failed.err
    assert "next: portside runs logs strict/1" in failed.err
    assert "failed (too_many_bad_rows)" in data(running, "runs", "logs", "strict")
    assert verb(running, "runs", "download", "strict").exit_status == 3
    data(running, "jobs", "rm", "strict", "--yes")


def test_a_schedule_is_set_shown_paused_and_taken_away(running: RunningPlatform) -> None:
    told = data(running, "jobs", "schedule", "set", "fast", "--cron", "30 2 * * *", "--time-zone", "Europe/Berlin")
    assert told.count("30:00Z") == 5, "its next five ticks"
    assert "paused" in data(running, "jobs", "schedule", "pause", "fast")
    assert "paused" not in data(running, "jobs", "schedule", "resume", "fast")
    assert len(json.loads(data(running, "jobs", "schedule", "show", "fast", "--json"))["next"]) == 5
    past = ("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z")
    assert verb(running, "jobs", "schedule", "backfill", "fast", *past).exit_status == 1
    assert verb(running, "jobs", "ticks", "fast").exit_status == 0
    data(running, "jobs", "schedule", "remove", "fast")
    assert verb(running, "jobs", "schedule", "show", "fast").exit_status == 3


def test_a_file_is_scored_in_one_step_and_who_watches_sees_how_far_it_is(
    running: RunningPlatform, tmp_path: Path
) -> None:
    other, out = tmp_path / "other.csv", tmp_path / "scored.csv"
    other.write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n")
    maps = [f"--map={place}={column}" for place, column in zip(PLACES.split(","), "abcd", strict=True)]
    said = at_a_terminal(running, "score", "iris", str(other), *maps, "-o", str(out))
    assert said.exit_status == 0, said.out
    assert all(words in said.out for words in (" running ", "of 1 rows", "1 rows scored in ")), said.out
    scored = out.read_text()
    assert scored.splitlines()[1].startswith('"setosa",')
    job = next(name for name in data(running, "jobs", "ls", "-o", "name").split() if name.startswith("other-"))
    command = [sys.executable, "-m", "portside", "--api", running.url, "runs", "download", job, "-o", "-", "-q"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == (scored, "")


def test_what_cannot_be_scored_is_said_before_anything_is_sent(running: RunningPlatform, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n5.1,3.5\n")
    before = data(running, "datasets", "ls", "-o", "name")
    assert verb(running, "score", "irs", str(other)).exit_status == 3
    file = str(EXAMPLES / "iris.onnx")
    for given, told in (("irs.onnx", "not a file\n"), (file, f"`portside models upload {file}` makes one of it")):
        failed = verb(running, "score", given, str(other))
        assert (failed.exit_status, "the name of a model is wanted here" in failed.err) == (3, True)
        assert told in failed.err, failed.err
    assert verb(running, "score", "iris", "nowhere.csv").exit_status == 3
    assert data(running, "datasets", "ls", "-o", "name") == before
    refused = verb(running, "score", "iris", str(other), "-o", str(tmp_path / "x.csv"))
    assert (refused.exit_status, "sepal_length" in refused.err) == (1, True)


@pytest.mark.parametrize("group", ["datasets", "jobs", "runs"])
def test_each_list_is_printed_for_people_and_for_scripts(running: RunningPlatform, group: str) -> None:
    listed = json.loads(data(running, group, "ls", "--json"))
    assert yaml.safe_load(data(running, group, "ls", "-o", "yaml")) == listed
    for name in data(running, group, "ls", "-o", "name").split():
        data(running, group, "show", name)
    assert "flowers" in data(running, group, "ls") + data(
        running, group, "show", "flowers" if group[0] == "d" else "fast"
    )


@pytest.mark.parametrize(
    ("words", "exit_status", "told"),
    [
        (("datasets", "show", "flwers"), 3, "did you mean 'flowers'?"),
        (("datasets", "create", "nowhere.csv"), 2, "name a CSV"),
        (("datasets", "create", "https://example.com/", "--name", "No Name"), 1, "/name"),
        (("datasets", "download", "flowers", "-o", "/nowhere/x"), 2, "cannot be written"),
        (("jobs", "create", "x", "-m", "irs", "-i", "flowers"), 3, "did you mean 'iris'?"),
        (("jobs", "create", "x", "-m", "iris", "-i", "flwers"), 3, "did you mean 'flowers'?"),
        (("jobs", "create", "x", "-m", "iris", "-i", "flowers", "--pass", "idd"), 1, "did you mean 'id'?"),
        (("jobs", "create", "fast", "-m", "iris", "-i", "flowers"), 4, "fast"),
        (("jobs", "run", "fats"), 3, "did you mean 'fast'?"),
        (("jobs", "script", "fast", "--against", "moon"), 1, "/against"),
        (("jobs", "schedule", "set", "fast"), 2, "--cron"),
        (("jobs", "schedule", "set", "fast", "--cron", "30 2"), 1, "/cron"),
        (("jobs", "delete", "fast"), 2, "--yes"),
        (("runs", "show", "fast/99"), 3, "has no run"),
        (("runs", "watch", "nobody"), 3, "no job is named"),
    ],
)
def test_what_is_wrong_is_said_and_told_by_the_exit_status(
    running: RunningPlatform, words: tuple[str, ...], exit_status: int, told: str
) -> None:
    done = verb(running, *words)
    assert (done.exit_status, done.out) == (exit_status, ""), done.err
    assert told in done.err


def test_watching_survives_the_platform_and_ends_with_a_word(running: RunningPlatform) -> None:
    with following(running, "jobs", "run", "slow") as watching:
        assert watching.stderr is not None
        run = watching.stderr.readline().split()[1]
        until(lambda: rows_of(running, run), 60, "the first chunk")
        port = running.url.rpartition(":")[2]
        running.end()
        assert "looking again" in watching.stderr.readline()
        running.process = RunningPlatform.start(running.data, port).process
        assert "is back" in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        said = watching.stderr.read()
        assert f"portside runs watch {run}" in said, watching.wait(60)
        assert watching.wait(60) == 130
    data(running, "runs", "stop", run, "--yes")
