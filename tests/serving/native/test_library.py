"""The library is built once, is exactly what was built, and nothing happens where it is not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.native.building import CannotBuild, build, is_right
from serving.native.library import Library, NotThere, open_library
from serving.native.place import VARIABLE, file_name, note_of


@pytest.fixture
def built(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library in the folder that is looked into."""
    copied = Path(shutil.copy(library.path, tmp_path))
    shutil.copy(note_of(library.path), tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return copied


def test_what_was_built_is_found_and_not_built_again(built: Path) -> None:
    before = built.stat().st_mtime_ns
    assert open_library().path == built
    assert build(built.parent, ["no-such-compiler"]) == built
    assert built.stat().st_mtime_ns == before


def test_a_file_that_was_changed_is_not_loaded(built: Path) -> None:
    content = bytearray(built.read_bytes())
    content[len(content) // 2] ^= 1
    built.write_bytes(content)
    with pytest.raises(NotThere, match="not built"):
        open_library()


def test_a_file_that_was_cut_short_is_not_loaded(built: Path) -> None:
    built.write_bytes(built.read_bytes()[:-100])
    with pytest.raises(NotThere, match="not built"):
        open_library()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"sha256":null}', "\udcff"])
def test_a_note_that_says_nothing_is_no_proof(note: str, built: Path) -> None:
    note_of(built).write_bytes(note.encode("utf-8", "surrogateescape"))
    assert not is_right(built)


def test_a_file_of_something_else_is_not_loaded(built: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_bytes(b"this is no library")
    with pytest.raises(NotThere, match="cannot be loaded"):
        Library(text)
    with pytest.raises(NotThere, match="cannot be loaded"):
        Library(Path(sys.executable))  # which has none of the functions


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(NotThere, match=f"{VARIABLE} says so"):
        open_library()


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="says: "):
        build(tmp_path, [sys.executable, "-c", "import sys; sys.exit('no such flag')"])
    with pytest.raises(CannotBuild):
        build(tmp_path, [str(tmp_path / "missing")])
    assert not list(tmp_path.glob("*.so"))


def test_its_name_tells_the_sources_and_the_platform(built: Path) -> None:
    assert file_name() == built.name
    assert built.name.startswith("portside-")


@pytest.mark.parametrize(("compiler", "said"), [("", "answered by Python alone"), ("c++", "take the compiled way")])
def test_set_up_says_what_it_did(compiler: str, said: str, built: Path, repository_root: Path) -> None:
    environment = {"PATH": "", "PYTHONPATH": str(repository_root), "CXX": compiler}
    command = [sys.executable, "-m", "serving.native", str(built.parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
