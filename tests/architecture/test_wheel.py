"""What the wheel puts on a user's path: `portside` and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.tree import ROOMS, Tree

MUST_TRAVEL = (".cpp", ".hpp", ".json", ".mako", ".py")  # schemas and templates as well as code


@pytest.fixture(scope="module")
def wheel(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=repository_root, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_takes_one_name_at_the_top_level(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"portside"}


def test_the_wheel_holds_every_file_of_the_rooms(wheel: Path, repository: Tree) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"portside/_server/{path.relative_to(repository.root).as_posix()}"
        for room in ROOMS
        if room != "portside"
        for path in (repository.root / room).rglob("*")
        if path.suffix in MUST_TRAVEL
    }
    assert ours - packed == set()
    assert [name for name in packed if "__pycache__" in name or name.startswith("portside/_server/tests")] == []


def test_the_installed_wheel_has_the_client_and_its_types(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    assert (tmp_path / "site/portside/py.typed").is_file()
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": f"{tmp_path / 'site'}:{packages}", "PATH": ""}
    command = [sys.executable, "-S", "-c", "from portside import Portside; print(Portside('http://host').url)"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("http://host\n", "")


def test_the_installed_wheel_starts_the_command_line_from_its_own_rooms(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    # A user's own folder of a common name stands in the current folder and must not win.
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli/__init__.py").write_text("raise SystemExit('this is the cli of someone else')")
    start = "import sys, portside.launcher as l; sys.argv = ['portside', '--help']; sys.exit(l.main())"
    command = [sys.executable, "-S", "-c", start]
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": f"{tmp_path / 'site'}:{tmp_path}:{packages}", "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "up" in done.stdout
