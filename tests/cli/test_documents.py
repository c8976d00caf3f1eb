"""What `portside apply` reads: every mistake is told at once, with file, line, document and field."""

from pathlib import Path

import pytest

from cli.apply.change import Change
from cli.apply.documents import read_documents
from cli.apply.fields import cores, memory
from cli.apply.steps import diff_lines
from cli.failure import CommandFailed, Exit

SERVICE = "kind: service\nname: iris\nmodel: iris\n"
JOB = "kind: job\nname: j\nmodel: iris\ninput: {dataset: d}\n"
MISTAKES = [
    ("kind: run\nname: x\n", "x.yaml:1: document 1, field 'kind': must be model, dataset, service or job, not 'run'"),
    ("kind: service\nmodel: iris\n", "field 'name': is missing"),
    (SERVICE + "replica: 2\n", "x.yaml:4: document 1, field 'replica': a service has no such field; did you mean 'rep"),
    (SERVICE + "replicas: two\n", "x.yaml:4: document 1, field 'replicas': must be a whole number"),
    (SERVICE + "replicas: true\n", "must be a whole number"),
    (SERVICE + "follow: 1\n", "must be true or false"),
    (SERVICE + "description: 1.0\n", "put it in quotes"),
    (SERVICE + "version: 0\n", "must be a version"),
    (SERVICE + "tags: team-a\n", "must be a list of texts"),
    (SERVICE + "resources: {cpu: lots}\n", "cpu must be a number of cores"),
    (SERVICE + "resources: {memory: 1Zi}\n", "memory must be a size"),
    (SERVICE + "resources: {disk: 1Gi}\n", "must have cpu, memory or both"),
    (SERVICE + "runtime: {engine_version: 1.31}\n", "must have engine, engine_version, python or some of them"),
    (SERVICE + "runtime: {java: '17'}\n", "must have engine, engine_version, python or some of them"),
    (SERVICE + "config_files: {a: {b: c}}\n", "must be names with texts"),
    (SERVICE + "name: other\n", "x.yaml:4: document 1, field 'name': stands there twice"),
    ("---\n" + SERVICE + "---\n" + SERVICE, "document 2, field 'name': service iris stands in"),
    ("kind: model\nname: iris\nfile: none.onnx\n", "there is no file"),
    ("kind: model\nname: Iris\nfile: x.yaml\n", "must be 1 to 48 lower-case letters"),
    ("kind: model\nname: iris\n", "either a file, beside its document, or a source with its sha256"),
    ("kind: model\nname: iris\nsource: https://x/m.onnx\n", "field 'sha256': stands beside a source"),
    ("kind: model\nname: iris\nsource: m.onnx\nsha256: x\n", "must be an address that begins with https://"),
    ("- a\n", "document 1: must be fields with values"),
    ("kind: dataset\nname: d\n", "a dataset has either a file or a folder of files, beside its document, or a source"),
    ("kind: dataset\nname: d\nfile: x.yaml\nfolder: .\n", "field 'folder': a dataset has either a file or a folder"),
    ("kind: dataset\nname: d\nfolder: x.yaml\n", "there is no folder"),
    ("kind: dataset\nname: d\nfile: .\n", "is a folder: for a dataset of files write folder:"),
    ("kind: dataset\nname: d\nfolder: .\nformat: csv\n", "field 'format': is for tables; this dataset has files"),
    ("kind: dataset\nname: d\nfile: none.csv\n", "there is no file"),
    ("kind: dataset\nname: d\nfile: x.yaml\nreference: true\n", "only a source can stay where it is"),
    ("kind: dataset\nname: d\nfile: x.yaml\ndelimiter: 1\n", "must be a character in quotes, or 'tab'"),
    ("kind: job\nname: j\nmodel: iris\n", "field 'input': is missing: a job has a model and an input, or a script"),
    (JOB + "script: {file: x.yaml}\n", "field 'model': is for jobs with a model; this one has a script"),
    (JOB + "schedule: nightly\n", "must be fields with values"),
    (JOB + "schedule: {at: 2026-12-24T18:00:00Z}\n", "must have its dates and times in quotes"),
    (JOB + "mapping: {1: a}\n", "must have names: put them in quotes"),
    (JOB + "kind_of: batch\n", "a job has no such field"),
    ("kind: job\nname: j\nscript: {file: none.py}\n", "there is no file"),
    ("kind: job\nname: j\nscript: print(1)\n", "must have a file, beside its document"),
]


def read(folder: Path, text: str) -> CommandFailed:
    (folder / "x.yaml").write_text(text)
    with pytest.raises(CommandFailed) as refused:
        read_documents(folder)
    assert refused.value.exit_status is Exit.USAGE
    return refused.value


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(read(tmp_path, text).details)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "y.yml").write_text("kind: no\n---\nkind: neither\n")
    failed = read(tmp_path, SERVICE + "replicas: 0\n")
    assert "3 mistakes" in failed.message
    assert len(failed.details) == 3


def test_what_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "x.yaml:2: is no YAML" in read(tmp_path, "kind: model\n  name: [\n").message


def test_a_wrong_variable_is_told_without_its_value(tmp_path: Path) -> None:
    failed = read(tmp_path, SERVICE + "env: {PIN: 4711}\n")
    assert "put numbers, yes and no in quotes" in failed.details[0]
    assert "4711" not in failed.details[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n"])
def test_a_folder_without_documents_is_no_wish(tmp_path: Path, text: str) -> None:
    assert "has no documents" in read(tmp_path, text).message


def test_documents_are_read_from_all_files_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "iris.onnx").touch()
    (tmp_path / ".hidden.yaml").write_text("kind: no\n")
    (tmp_path / "a.yaml").write_text("kind: model\nname: iris\nfile: iris.onnx\n---\n" + SERVICE + "version: 3\n")
    model, service = read_documents(tmp_path)
    assert (str(model), model.file) == ("model iris", tmp_path / "iris.onnx")
    assert (str(service), service.fields["version"]) == ("service iris", "3")


def test_quantities_are_compared_as_the_platform_shows_them() -> None:
    assert [cores(given) for given in ("500m", 0.5, 2)] == [0.5, 0.5, 2.0]
    assert [memory(given) for given in ("1Gi", "512Mi", "500M", 128 * 1024**2)] == ["1024Mi", "512Mi", "477Mi", "128Mi"]


def test_a_change_is_shown_as_a_diff() -> None:
    change = Change("change", "service", "iris", {"replicas": 1, "model": "a"}, {"replicas": 2, "model": "a"})
    assert diff_lines(change) == ["~ service iris", "-     replicas: 1", "+     replicas: 2"]
