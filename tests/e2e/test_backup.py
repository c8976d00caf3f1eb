"""A platform is backed up while it works, and goes on elsewhere from the archive as if nothing had been."""

import json
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

from cli.client import Platform
from cli.comparison import difference
from cli.failure import CommandFailed
from tests.e2e.commands import command
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).parents[2] / "examples"
ASKED = json.loads((EXAMPLES / "iris.onnx.input.json").read_text("utf-8"))
PAUSE_S = 0.02  # between two predictions: the backup needs the processor, too
TOLD = json.loads((EXAMPLES / "iris.onnx.expected.json").read_text("utf-8"))


def portside(*words: str) -> subprocess.CompletedProcess[str]:
    """The command, as an operator types it."""
    return subprocess.run(
        [sys.executable, "-m", "portside", *words], capture_output=True, text=True, check=False, timeout=120
    )


def deploy(api: Platform) -> None:
    upload = {"content-type": "application/octet-stream"}
    content = (EXAMPLES / "iris.onnx").read_bytes()
    assert api.send("POST", "/api/v1/models/iris/versions", content, headers=upload).status == 202
    until(lambda: ready(api, "/api/v1/models/iris/versions/1", "ready"), 60, "the inspection")
    api.call("POST", "/api/v1/services", {"name": "iris", "model": "iris"})
    until(lambda: ready(api, "/api/v1/services/iris", "running"), 60, "the deployment")


def ready(api: Platform, path: str, status: str) -> bool | None:
    return True if api.get(path)["status"] == status else None


def test_a_backup_of_a_working_platform_serves_again_elsewhere(tmp_path: Path) -> None:
    archive, restored = tmp_path / "backup.tar", tmp_path / "restored"
    with RunningPlatform.start(tmp_path / "data") as platform, platform.client() as api:
        deploy(api)
        form = b'--b\r\nContent-Disposition: form-data; name="content"\r\n\r\nkept\r\n--b--\r\n'
        kind = {"content-type": "multipart/form-data; boundary=b"}
        file = api.send("POST", "/api/v1/files", form, headers=kind).document["id"]
        enough = threading.Event()
        accepted: list[str] = []

        def keep_busy() -> None:
            with platform.client() as other:
                while not enough.wait(PAUSE_S):
                    made = other.call("POST", "/api/v1/services/iris/predictions", ASKED)
                    accepted.append(str(made.document["id"]))

        busy = threading.Thread(target=keep_busy)
        busy.start()
        try:
            until(lambda: accepted[:5] or None, 60, "some work")
            known = list(accepted)
            done = portside("backup", str(archive), "--data", str(tmp_path / "data"))
        finally:
            enough.set()
            busy.join()
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert archive.stat().st_mode & 0o777 == 0o600
    assert command("restore", str(archive), "--data", str(restored)).exit_status == 0
    with RunningPlatform.start(restored) as second, second.client() as api:
        until(lambda: ready(api, "/api/v1/services/iris", "running"), 60, "the service")
        answer = until(lambda: answered(api), 60, "an answer")
        assert difference(answer, TOLD["outputs"]) is None
        assert api.send("GET", f"/api/v1/files/{file}/content", None).status == 200
        for prediction_id in known:
            until(partial(ready, api, f"/api/v1/predictions/{prediction_id}", "succeeded"), 60, prediction_id)


def answered(api: Platform) -> object:
    try:
        return api.call("POST", "/api/v1/services/iris/predict", ASKED).document["outputs"]
    except CommandFailed:
        return None


def test_an_archive_is_refused_where_a_platform_lies_or_when_it_is_damaged(tmp_path: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "backup.tar"
    upload = {"content-type": "application/octet-stream"}
    content = (EXAMPLES / "iris.onnx").read_bytes()
    with RunningPlatform.start(data) as platform, platform.client() as api:
        assert api.send("POST", "/api/v1/models/iris/versions", content, headers=upload).status == 202
    assert command("backup", str(archive), "--data", str(data)).exit_status == 0
    again = command("backup", str(archive), "--data", str(data))
    assert (again.exit_status, "exists already" in again.err) == (4, True)
    full = command("restore", str(archive), "--data", str(data))
    assert (full.exit_status, "holds a platform already" in full.err) == (4, True)
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        blob = next(member for member in tar if member.name.startswith("artifacts/"))
    broken = {
        "other bytes": whole[: blob.offset_data + 100] + b"?" + whole[blob.offset_data + 101 :],
        "cut off": whole[: blob.offset_data + 100],
        "does not begin with": whole[blob.offset :],
    }
    for words, content in broken.items():
        archive.write_bytes(content)
        refused = command("restore", str(archive), "--data", str(tmp_path / words.replace(" ", "-")))
        assert refused.exit_status == 1
        assert words in refused.err, refused.err
        left = {path.name for path in (tmp_path / words.replace(" ", "-")).iterdir()}
        assert left <= {"lock"}
