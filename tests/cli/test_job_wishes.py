"""What options of the verbs about jobs ask for, and what is wrong usage before anybody is asked."""

from pathlib import Path

import pytest

from cli.failure import CommandFailed, Exit
from cli.job_wishes import Said, job_wish, on_error, run_wish
from cli.runs import progress_in_words


def refused(**said: object) -> CommandFailed:
    with pytest.raises(CommandFailed) as caught:
        job_wish(None, Said(**{"name": "n", "model": "iris", "data": "d", **said}))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("iris", {"model": "iris"}),
        ("iris@3", {"model": "iris", "version": "3"}),
        ("iris@latest", {"model": "iris", "version": "latest"}),
        ("iris@sha256:ab", {"model": "iris", "version": "sha256:ab"}),
        ("iris@champion", {"model": "iris", "version": "@champion"}),
    ],
)
def test_a_model_is_named_with_its_version(model: str, asked: dict[str, str]) -> None:
    wish = job_wish(None, Said(name="n", model=model, data="d"))
    assert {name: wish[name] for name in ("model", "version") if name in wish} == asked


def test_options_win_over_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("kind: batch\nname: a\nmodel: iris\ninput: {dataset: d}\noutput: {name: o, format: csv}\n")
    wish = job_wish(file, Said(name="b", into="p", data="https://example.com/d.csv", pass_through=["id", "*"]))
    assert (wish["name"], wish["model"], wish["pass_through"]) == ("b", "iris", "*")
    assert wish["output"] == {"name": "p", "format": "csv"}
    assert wish["input"] == {"uri": "https://example.com/d.csv"}


def test_a_run_asks_only_for_what_it_has_otherwise_than_its_job() -> None:
    assert run_wish(Said()) == {}
    wish = run_wish(Said(name="first", env=["A=b=c"], args=["-v"]))
    assert wish == {"name": "first", "env": {"A": "b=c"}, "args": ["-v"]}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"name": None}, "NAME"),
        ({"model": None}, "--model"),
        ({"data": None}, "--input"),
        ({"maps": ["x"]}, "--map x: write NAME=VALUE"),
        ({"env": ["=1"]}, "--env =1"),
        ({"on_error": "limit"}, "--on-error limit: write skip, fail or how many"),
    ],
)
def test_what_is_left_out_or_misspelt_is_wrong_usage(said: dict[str, object], told: str) -> None:
    failed = refused(**said)
    assert (failed.exit_status, told in failed.message) == (Exit.USAGE, True), failed.message


def test_a_file_is_no_dataset_and_the_next_step_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a\n1\n")
    failed = refused(data=str(file))
    assert (failed.exit_status, failed.details) == (Exit.USAGE, (f"next: portside datasets create {file}",))


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_no_job_is_wrong_usage(tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(CommandFailed) as caught:
        job_wish(file, Said())
    assert caught.value.exit_status is Exit.USAGE


def test_bad_rows_are_skipped_or_end_the_run_or_are_counted() -> None:
    assert [on_error("skip"), on_error("fail"), on_error("7")] == ["skip", "fail", {"policy": "limit", "limit": 7}]


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        ({"rows": 0, "detail": "0 of 10 rows; it waits"}, "0 of 10 rows, it waits"),
        ({"rows": 4, "rows_per_s": 2.0, "eta_s": 3.0}, "4 of 10 rows, 2 rows/s, about 3 s to go"),
        ({"rows": 4, "eta_s": 356.3}, "4 of 10 rows, about 6 min to go"),
        ({"rows": 10, "rows_per_s": 0.2}, "10 of 10 rows, putting the result together"),
        ({"rows": 5, "rows_total": None}, "5 rows"),
    ],
)
def test_how_far_a_run_is_is_said_once(progress: dict[str, object], words: str) -> None:
    whole = {"rows_total": 10, "rows_per_s": None, "eta_s": None, "detail": None, **progress}
    assert progress_in_words(whole) == words


def test_a_file_with_a_script_makes_a_job_of_one(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: f\nscript: {source: print(1)}\n")
    assert job_wish(file, Said())["kind"] == "script"
    with pytest.raises(CommandFailed, match="--read NAME=DATASET") as caught:
        job_wish(file, Said(data="flats"))
    assert caught.value.exit_status is Exit.USAGE
