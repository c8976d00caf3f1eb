"""Datasets and jobs in a folder that is the truth: applied they are made, again they stay, pruned they are gone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import data, verb
from tests.e2e.platform import RunningPlatform

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLACES = "sepal_length,sepal_width,petal_length,petal_width"
MODEL = "kind: model\nname: iris\nfile: iris.onnx\n---\n"
DATASET = "kind: dataset\nname: flowers\nfile: flowers.csv\ndelimiter: ';'\n{more}---\n"
# The second one stands before what it runs after.
JOBS = """kind: job
name: tell
after: nightly
model: iris
input: {{dataset: nightly-scores}}
---
kind: job
name: nightly
model: iris
input: {{dataset: flowers}}
output: {{name: nightly-scores, replace: true}}
mapping: {{float_input: [a, b, c, d]}}
on_error: skip
env: {{REGION: {region}}}
schedule:
  cron: "30  2 * * *"
  time_zone: Europe/Berlin
  jitter: {jitter}
  end: "2099-12-24T18:00:00+01:00"
"""
SCRIPT = """---
kind: job
name: train
script:
  file: train.py
  requirements: []
inputs: {datasets: {rows: flowers}}
outputs: {model.onnx: {register: {model: iris, alias: candidate}}}
schedule: {every: 1d, paused: true}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path_factory.mktemp("applied-data")) as platform:
        yield platform


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("git")
    shutil.copyfile(EXAMPLES / "iris.onnx", folder / "iris.onnx")
    return folder


def write(folder: Path, *, rows: int = 3, more: str = "", region: str = "eu", jitter: str = "90s") -> None:
    (folder / "flowers.csv").write_text("a;b;c;d\n" + "5.1;3.5;1.4;0.2\n" * rows)
    text = MODEL + DATASET.format(more=more) + JOBS.format(region=region, jitter=jitter)
    (folder / "all.yaml").write_text(text)


def changes(running: RunningPlatform, folder: Path, *words: str) -> dict[str, str]:
    plan = json.loads(data(running, "apply", "-f", str(folder), "--dry-run", "--json", *words))
    return {change["name"]: change["action"] for change in plan}


def test_datasets_and_jobs_are_made_each_after_what_it_names_and_again_nothing_changes(
    running: RunningPlatform, folder: Path
) -> None:
    write(folder)
    planned = changes(running, folder)
    assert list(planned) == ["model/iris", "dataset/flowers", "job/nightly", "job/tell"]
    assert set(planned.values()) == {"create"}
    data(running, "apply", "-f", str(folder))
    dataset = json.loads(data(running, "datasets", "show", "flowers", "--json"))
    assert (dataset["status"], dataset["rows"], dataset["layout"]["delimiter"]) == ("ready", 3, ";")
    job = json.loads(data(running, "jobs", "show", "nightly", "--json"))
    assert (job["schedule"]["cron"], job["schedule"]["jitter_s"]) == ("30 2 * * *", 90)
    assert json.loads(data(running, "jobs", "show", "tell", "--json"))["after"] == "nightly"
    assert changes(running, folder) == {}
    assert data(running, "apply", "-f", str(folder)) == "No change: 4 as declared.\n"


def test_only_what_differs_of_a_job_is_changed(running: RunningPlatform, folder: Path) -> None:
    write(folder, jitter="2m", region="us")
    said = data(running, "apply", "-f", str(folder), "--dry-run")
    assert "~ job nightly" in said
    assert "+       jitter: 120" in said
    assert "us" not in [line.split()[-1] for line in said.splitlines()]
    data(running, "apply", "-f", str(folder))
    job = json.loads(data(running, "jobs", "show", "nightly", "--json"))
    assert (job["schedule"]["jitter_s"], job["schedule"]["time_zone"]) == (120, "Europe/Berlin")
    assert changes(running, folder) == {}
    text = (folder / "all.yaml").read_text()
    (folder / "all.yaml").write_text(text[: text.index("schedule:")] + "schedule: null\n")
    data(running, "apply", "-f", str(folder))
    assert json.loads(data(running, "jobs", "show", "nightly", "--json"))["schedule"] is None


def test_other_data_take_the_place_of_those_that_an_apply_has_made(running: RunningPlatform, folder: Path) -> None:
    write(folder, rows=5, more="description: five\n", region="us", jitter="2m")
    assert changes(running, folder) == {"dataset/flowers": "change", "job/nightly": "change"}
    data(running, "apply", "-f", str(folder))
    dataset = json.loads(data(running, "datasets", "show", "flowers", "--json"))
    assert (dataset["rows"], dataset["description"]) == (5, "five")
    assert changes(running, folder) == {}
    write(folder, rows=5, more="description: many\n", region="us", jitter="2m")
    data(running, "apply", "-f", str(folder))
    again = json.loads(data(running, "datasets", "show", "flowers", "--json"))
    assert (again["id"], again["description"]) == (dataset["id"], "many")
    write(folder, rows=5, more="has_header: true\n", region="us", jitter="2m")
    assert changes(running, folder) == {"dataset/flowers": "change"}
    data(running, "apply", "-f", str(folder))
    assert changes(running, folder) == {}


def test_a_folder_is_a_dataset_of_its_files_and_only_what_differs_is_sent(
    running: RunningPlatform, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    for name in ("a b.txt", "deep/c.txt", ".hidden"):
        (pictures / name).write_text(name)
    (tmp_path / "x.yaml").write_text("kind: dataset\nname: pictures\nfolder: pictures\ndescription: all\n")
    assert changes(running, tmp_path) == {"dataset/pictures": "create"}
    data(running, "apply", "-f", str(tmp_path))
    assert changes(running, tmp_path) == {}
    shown = json.loads(data(running, "datasets", "show", "pictures", "--json"))
    assert (shown["kind"], shown["files"], shown["description"]) == ("files", 2, "all")
    (pictures / "deep/c.txt").unlink()
    (pictures / "deep").rmdir()
    (pictures / "deep").write_text("a file now")
    (pictures / "a b.txt").write_text("other")
    planned = json.loads(data(running, "apply", "-f", str(tmp_path), "--dry-run", "--json"))
    assert [sorted(planned[0][when]["files"]) for when in ("before", "after")] == [
        ["a b.txt", "deep/c.txt"],
        ["a b.txt", "deep"],
    ]
    data(running, "apply", "-f", str(tmp_path))
    listed = json.loads(data(running, "datasets", "files", "pictures", "--json"))
    assert [(each["path"], each["size_bytes"]) for each in listed] == [("a b.txt", 5), ("deep", 10)]
    (tmp_path / "x.yaml").write_text("kind: dataset\nname: by-hand\nfolder: pictures\n")
    (tmp_path / "by-hand.csv").write_text("a\n1\n")
    data(running, "datasets", "create", str(tmp_path / "by-hand.csv"))
    refused = verb(running, "apply", "-f", str(tmp_path))
    assert (refused.exit_status, "has one that is a table" in refused.err) == (4, True)


def test_what_an_apply_has_not_made_is_not_replaced_and_what_is_nowhere_is_told(
    running: RunningPlatform, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "hand.csv").write_text("a\n1\n")
    data(running, "datasets", "create", str(tmp_path / "hand.csv"))
    (tmp_path / "x.yaml").write_text("kind: dataset\nname: hand\nfile: hand.csv\n")
    assert changes(running, tmp_path) == {}
    (tmp_path / "hand.csv").write_text("a\n2\n")
    refused = verb(running, "apply", "-f", str(tmp_path))
    assert (refused.exit_status, "which no apply has made" in refused.err) == (4, True)
    (tmp_path / "x.yaml").write_text("kind: job\nname: j\nmodel: iris\ninput: {dataset: nowhere}\n")
    missing = verb(running, "apply", "-f", str(tmp_path))
    assert (missing.exit_status, "there is no dataset 'nowhere'" in missing.err) == (3, True)


def test_a_script_is_the_file_beside_its_document(
    running: RunningPlatform, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.py").write_text("print('one')\n")
    (folder / "script.yaml").write_text(SCRIPT)
    token = data(running, "tokens", "create", "apply", "-q").strip().splitlines()[-1]
    monkeypatch.setenv("PORTSIDE_TOKEN", token)
    assert changes(running, folder) == {"job/train": "create"}
    data(running, "apply", "-f", str(folder))
    assert changes(running, folder) == {}
    before = json.loads(data(running, "jobs", "show", "train", "--json"))
    (folder / "train.py").write_text("print('two')\n")
    assert changes(running, folder) == {"job/train": "change"}
    data(running, "apply", "-f", str(folder))
    after = json.loads(data(running, "jobs", "show", "train", "--json"))
    assert before["script"]["digest"] != after["script"]["digest"]
    assert (after["outputs"], after["schedule"]["paused"]) == (before["outputs"], True)
    assert changes(running, folder) == {}


def test_prune_takes_followers_first_and_leaves_what_was_made_by_hand(
    running: RunningPlatform, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("all.yaml", "script.yaml"):
        (folder / file).unlink()
    (folder / "rest.yaml").write_text("kind: dataset\nname: hand\nfile: hand.csv\n")
    (folder / "hand.csv").write_text("a\n1\n")
    planned = changes(running, folder, "--prune")
    jobs = [name for name in planned if name.startswith("job/")]
    assert jobs.index("job/tell") < jobs.index("job/nightly")
    assert list(planned)[len(jobs) :] == ["dataset/pictures", "dataset/flowers", "model/iris"]
    data(running, "apply", "-f", str(folder), "--prune", "--yes")
    assert sorted(data(running, "datasets", "ls", "-o", "name").split()) == ["by-hand", "hand"]
    assert data(running, "jobs", "ls", "-o", "name") == ""
