"""`portside doctor` on real platforms: nothing to say on a sound one, and on a broken one what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack.child import free_port
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def doctor(data: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "portside", "doctor", "--data", str(data), "--port", "0"]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


def line(said: str, topic: str) -> str:
    return next(each for each in said.splitlines() if f"   {topic} " in each)


def test_a_running_platform_is_examined_and_a_lost_artifact_is_found(tmp_path: Path) -> None:
    with RunningPlatform.start(tmp_path) as platform:
        with platform.client() as api:
            upload = {"content-type": "application/octet-stream"}
            content = (EXAMPLES / "iris.onnx").read_bytes()
            api.send("POST", "/api/v1/models/iris/versions", content, headers=upload)
            path = "/api/v1/models/iris/versions/1"
            until(lambda: True if api.get(path)["status"] == "ready" else None, 60, "the inspection")
        sound = doctor(tmp_path)
        assert sound.returncode == 0, sound.stdout + sound.stderr
        assert platform.url in line(sound.stdout, "data folder")
        assert "1 looked at, all stored" in line(sound.stdout, "versions")
        assert "1 embedded" in line(sound.stdout, "processes")
        (blob,) = (tmp_path / "artifacts" / "sha256").glob("*/*")
        blob.rename(blob.with_name("0" * 64))
        broken = doctor(tmp_path)
        assert broken.returncode == 1
        assert "1 of 1 have no artifact" in line(broken.stdout, "versions")
        assert "1 of 1 stored blobs have no row" in line(broken.stdout, "orphans")
        assert "versions" in broken.stderr


def test_an_empty_folder_is_fine_and_is_not_made(tmp_path: Path) -> None:
    found = doctor(tmp_path / "new")
    assert found.returncode == 0, found.stdout
    assert not (tmp_path / "new").exists()


def test_the_bucket_is_asked_before_there_is_a_database(tmp_path: Path) -> None:
    keys = {"PORTSIDE_S3_ACCESS_KEY": "one", "PORTSIDE_S3_SECRET_KEY": "two"}
    nobody = f"http://127.0.0.1:{free_port()}"
    found = doctor(tmp_path / "new", PORTSIDE_ARTIFACTS_URL="s3://bucket", PORTSIDE_S3_ENDPOINT=nobody, **keys)
    assert found.returncode == 1, found.stdout
    assert line(found.stdout, "artifacts").startswith("no")
    assert line(found.stdout, "database").startswith("ok")
    assert not (tmp_path / "new").exists()


def test_a_key_that_is_missing_is_named_and_not_made(tmp_path: Path) -> None:
    found = doctor(tmp_path, PORTSIDE_DATABASE_URL="mysql://x")
    assert found.returncode == 1, found.stdout
    assert "PORTSIDE_SECRET_KEY is not set" in line(found.stdout, "key")
    assert "not mysql:" in found.stdout
    assert not (tmp_path / "secret.key").exists()


@pytest.mark.parametrize(
    ("variable", "value", "topic", "words"),
    [
        ("PORTSIDE_LOGLEVEL", "debug", "settings", "did you mean PORTSIDE_LOG_LEVEL?"),
        ("PORTSIDE_DATABASE_URL", "postgresql://nobody@127.0.0.1:{port}/none", "database", "did not answer"),
        ("PORTSIDE_BROKER_URL", "redis://127.0.0.1:{port}/0", "broker", "Redis"),
    ],
)
def test_what_cannot_be_reached_or_has_no_effect_is_named(
    tmp_path: Path, variable: str, value: str, topic: str, words: str
) -> None:
    given = {"PORTSIDE_SECRET_KEY": KEY, "PORTSIDE_DATABASE_URL": f"postgresql://x@127.0.0.1:{free_port()}/x"}
    found = doctor(tmp_path, **{**given, variable: value.format(port=free_port())})
    assert found.returncode == 1
    assert line(found.stdout, topic).startswith("no")
    assert words in line(found.stdout, topic)
    assert topic in found.stderr
