"""A platform of a user that is not root: batches run, and scripts are trusted code, as `doctor` says."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from uv import find_uv_bin

from cli.folder import address_of
from portside import Portside
from tests.e2e.platform import RunningPlatform, until
from workers.node.isolation import SYSTEM_PYTHONS

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65_531  # a user of no account, and of no script
LEAST = 19  # niceness
START_S = 90  # of a process that everybody else goes before
ROWS = "id,sl,sw,pl,pw\n1,5.1,3.5,1.4,0.2\n2,6.9,3.1,4.9,1.5\n"
SCRIPT = """
import os, pathlib, portside.run
key = pathlib.Path(os.environ["KEY"])
print("user", os.getuid(), "niced", os.nice(0), "key", len(key.read_bytes()) > 0)
print("read", portside.run.inputs()["rows"].read_text().split()[1])
print("limited", __import__("resource").getrlimit(7)[0] > 0)
(portside.run.outputs / "left.txt").write_text("left")
"""


@dataclass(frozen=True)
class Account:
    """A user, its interpreter, where it finds the product, and a folder of its own."""

    uid: int
    python: Path
    root: Path
    home: Path

    def start(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        variables = {"HOME": str(self.home), "PATH": os.environ["PATH"], "NO_COLOR": "1", "PYTHONPATH": str(self.root)}
        given: dict[str, Any] = {"env": variables, "cwd": "/", **more}
        if os.geteuid() == 0:
            given |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        niced = ["nice", "-n", str(LEAST)]  # as an operator may start it: nobody but root gets out of that again
        return subprocess.Popen([*niced, str(self.python), "-m", "portside", *command], text=True, **given)


@pytest.fixture
def account() -> Iterator[Account]:
    """Somebody who is not root, with an interpreter that everybody can run."""
    home = Path(tempfile.mkdtemp(prefix="portside-nobody-"))  # the test's own folder is closed to others
    is_root = os.geteuid() == 0
    try:
        uid = NOBODY if is_root else os.geteuid()
        python = _environment(home) if is_root else Path(sys.executable)
        root = _reachable(ROOT, home / "product") if is_root else ROOT
        if is_root:
            os.chown(home, uid, uid)
        yield Account(uid, python, root, home)
    finally:
        shutil.rmtree(home)


def _environment(home: Path) -> Path:
    """An environment over an interpreter outside of root's home, with the packages of this one."""
    folder = home / "environment"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = next(each for each in (*SYSTEM_PYTHONS, sys.executable) if _version(each) == version)
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", found, str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    packages = next(each for each in sys.path if each.endswith("site-packages"))
    reachable = _reachable(Path(packages), home / "packages")
    _linked(find_uv_bin(), str(folder / "bin" / "uv"))  # it looks for itself beside the packages, and here
    (site / "packages.pth").write_text(f"{reachable}\n", "utf-8")
    return folder / "bin" / "python"


def _reachable(folder: Path, elsewhere: Path) -> Path:
    """The folder, where everybody can come to it; else its files, linked where that goes, in a place where they can.

    What `mktemp -d` makes, as for a fresh clone, is closed to others.
    """
    if all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents)):
        return folder
    hidden = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(folder, elsewhere, symlinks=True, ignore=hidden, copy_function=_linked)
    return elsewhere


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # on another file system
        shutil.copy2(source, target)


def _version(python: str) -> str:
    if not Path(python).exists():
        return ""
    command = [python, "-c", "import sys; print(f'{sys.version_info.major}.{sys.version_info.minor}')"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def platform(account: Account) -> Iterator[RunningPlatform]:
    data = account.home / "data"
    process = account.start("up", "--data", str(data), "--port", "0", stderr=subprocess.PIPE, start_new_session=True)
    running = RunningPlatform(data, process, "")

    def address() -> str | None:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return address_of(data, process.pid)

    try:
        running.url = until(address, START_S, "the start")
        yield running
    finally:
        running.end()


def test_who_is_not_root_runs_batches_and_trusted_scripts(account: Account, platform: RunningPlatform) -> None:
    with Portside(platform.url) as client, httpx2.Client(base_url=f"{platform.url}/api/v1", timeout=90) as api:
        client.deploy(ROOT / "examples" / "iris.onnx")
        assert client.datasets.create("rows", ROWS.encode()).status == "ready"
        told = {"mapping": {"float_input": ["sl", "sw", "pl", "pw"]}, "pass_through": ["id"]}
        ended = client.create_job("score", "iris", "rows", **told).run().wait(180)
        assert (ended.status, ended.rows_out) == ("succeeded", 2)
        token = api.post("/tokens", json={"name": "scripts"}).json()["token"]
        log = _script(api, {"Authorization": f"Bearer {token}"}, platform.data / "secret.key")
    assert f"user {account.uid} niced {LEAST} key True" in log
    assert "read 1,5.1,3.5,1.4,0.2" in log
    examined = account.start("doctor", "--data", str(platform.data), stdout=subprocess.PIPE)
    said, _ = examined.communicate(timeout=START_S)
    line = next(each for each in said.splitlines() if "   scripts " in each)
    assert "as the platform's own user: they can read and change all that is its" in said, line


def _script(api: httpx2.Client, auth: Mapping[str, str], key: Path) -> str:
    """The log of a script that reads a dataset, leaves a file, and looks around."""
    job = {
        "name": "look",
        "kind": "script",
        "script": {"source": SCRIPT},
        "env": {"KEY": str(key)},
        "inputs": {"datasets": {"rows": "rows"}},
    }
    assert api.post("/jobs", json=job, headers=auth).status_code == 201
    run = api.post("/jobs/look:run", json={}, headers={**auth, "Prefer": "wait=60"}).json()
    while run["status"] in ("queued", "running"):
        run = api.get("/jobs/look/runs/1:wait", params={"timeout": 60}, headers=auth).json()
    log: str = api.get("/jobs/look/runs/1/logs", headers=auth).text
    assert run["status"] == "succeeded", (run, log)
    assert api.get("/jobs/look/runs/1/artifacts/left.txt", headers=auth).text == "left"
    return log
