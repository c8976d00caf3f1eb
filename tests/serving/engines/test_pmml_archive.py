"""The archive of Java classes: made once, used from then on, and never in the way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.serving.engines.make_class_list import TARGET, loaded_by

PREDICT = """
import os, resource, sys
from pathlib import Path
import jpype, numpy as np
from serving.engines.pmml import PmmlEngine
if os.environ.get("DATA_MB"):
    data_bytes = int(os.environ["DATA_MB"]) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
path, engine = Path(sys.argv[1]), PmmlEngine()
signature = engine.describe(path)
model = engine.load(path, signature, threads=1)
answer = model.predict({field.name: np.array([1.0], np.float32) for field in signature.inputs})
print([column.tolist() for column in answer.values()], jpype.java.lang.System.getProperty("java.vm.info"))
"""
DEADLINE_S = 180
WRITE = {"PORTSIDE_JVM_ARCHIVES_WRITE": "1"}


def begin(root: Path, archives: Path, **environment: str) -> "subprocess.Popen[str]":
    """Load a model and predict, as a replica does it; prints the answer and what Java says of itself."""
    given = {"PYTHONPATH": str(root), "PORTSIDE_JVM_ARCHIVES": str(archives), **environment}
    command = [sys.executable, "-P", "-c", PREDICT, str(root / "examples" / "iris.pmml")]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **given}, stdout=pipe, stderr=pipe, text=True)


def end(process: "subprocess.Popen[str]") -> str:
    """What it printed; nothing else may have been said."""
    printed, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, ""), errors
    return printed


@pytest.fixture(scope="module")
def written(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes wanted to write the archive at the same time; an older Java's lay there."""
    archives = tmp_path_factory.mktemp("data") / "cache" / "jvm"
    archives.mkdir(parents=True)
    (archives / "jvm-0123456789abcdef.jsa").write_bytes(b"of a former Java")
    writers = [begin(repository_root, archives, **WRITE) for _ in range(2)]
    first, second = [end(writer) for writer in writers]
    assert first.partition("mixed")[0] == second.partition("mixed")[0]
    return archives


@pytest.fixture
def archives(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "archives"))


def test_writers_leave_one_whole_archive(written: Path) -> None:
    assert sorted(path.suffix for path in written.iterdir()) == [".jsa", ".lock"]


def test_the_list_names_nearly_all_classes_that_a_model_needs(repository_root: Path) -> None:
    needed = set(loaded_by(repository_root / "examples" / "iris.pmml"))
    listed = set(TARGET.read_text("utf-8").splitlines())
    assert len(needed & listed) > 0.95 * len(needed), "run tests/serving/engines/make_class_list.py again"


def test_a_replica_with_little_memory_can_use_the_archive(repository_root: Path, written: Path) -> None:
    assert "sharing" in end(begin(repository_root, written, DATA_MB="512", PORTSIDE_JVM_MAX_HEAP_MB="256"))


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_archive_is_passed_by_in_silence(repository_root: Path, archives: Path, damage: str) -> None:
    [archive] = archives.glob("*.jsa")
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no archive" * 1000)
    assert end(begin(repository_root, archives, **WRITE)).startswith("[")


def test_without_a_folder_to_write_to_models_are_served_all_the_same(repository_root: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    assert end(begin(repository_root, in_the_way / "jvm", **WRITE)).startswith("[")


def test_a_reader_writes_nothing(repository_root: Path, tmp_path: Path) -> None:
    assert end(begin(repository_root, tmp_path / "archives")).startswith("[")
    assert list(tmp_path.iterdir()) == []


def test_the_writing_java_ends_with_the_one_who_asked(repository_root: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    model = repository_root / "examples" / "iris.pmml"
    command = [sys.executable, "-P", "-m", "serving", "inspect", str(model), "--parent-fd", str(read_end)]
    given = {"PYTHONPATH": str(repository_root), "PORTSIDE_JVM_ARCHIVES": str(tmp_path), **WRITE}
    with subprocess.Popen(
        command, env={**os.environ, **given}, pass_fds=(read_end,), stdout=subprocess.PIPE, start_new_session=True
    ) as inspection:
        os.close(read_end)
        java = writer_of(inspection.pid)
        os.close(write_end)
        deadline = time.monotonic() + DEADLINE_S
        while not has_ended(java):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert inspection.returncode == -signal.SIGKILL


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; nobody may look after it any more."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def writer_of(pid: int) -> psutil.Process:
    """The Java that this process has started, as soon as it runs."""
    deadline = time.monotonic() + DEADLINE_S
    while not (children := psutil.Process(pid).children()):
        assert time.monotonic() < deadline, "no Java was started"
        time.sleep(0.005)
    return children[0]
