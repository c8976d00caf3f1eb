"""`portside doctor` on real platforms: nothing to say on a sound one, and on a broken one what to do."""

from pathlib import Path

import pytest

from deploy.stack.child import free_port
from tests.e2e.commands import Said, command
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def doctor(data: Path, **variables: str) -> Said:
    return command("doctor", "--data", str(data), "--port", "0", **variables)


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
        assert sound.exit_status == 0, sound.out + sound.err
        assert platform.url in line(sound.out, "data folder")
        assert "1 looked at, all stored" in line(sound.out, "versions")
        assert "1 embedded" in line(sound.out, "processes")
        (blob,) = (tmp_path / "artifacts" / "sha256").glob("*/*")
        blob.rename(blob.with_name("0" * 64))
        broken = doctor(tmp_path)
        assert broken.exit_status == 1
        assert "1 of 1 have no artifact" in line(broken.out, "versions")
        assert "1 of 1 stored blobs have no row" in line(broken.out, "orphans")
        assert "versions" in broken.err


def test_an_empty_folder_is_fine_and_is_not_made(tmp_path: Path) -> None:
    found = doctor(tmp_path / "new")
    assert found.exit_status == 0, found.out
    assert not (tmp_path / "new").exists()


def test_the_bucket_is_asked_before_there_is_a_database(tmp_path: Path) -> None:
    keys = {"PORTSIDE_S3_ACCESS_KEY": "one", "PORTSIDE_S3_SECRET_KEY": "two"}
    nobody = f"http://127.0.0.1:{free_port()}"
    found = doctor(tmp_path / "new", PORTSIDE_ARTIFACTS_URL="s3://bucket", PORTSIDE_S3_ENDPOINT=nobody, **keys)
    assert found.exit_status == 1, found.out
    assert line(found.out, "artifacts").startswith("no")
    assert line(found.out, "database").startswith("ok")
    assert not (tmp_path / "new").exists()


def test_a_key_that_is_missing_is_named_and_not_made(tmp_path: Path) -> None:
    found = doctor(tmp_path, PORTSIDE_DATABASE_URL="mysql://x")
    assert found.exit_status == 1, found.out
    assert "PORTSIDE_SECRET_KEY is not set" in line(found.out, "key")
    assert "not mysql:" in found.out
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
    assert found.exit_status == 1
    assert line(found.out, topic).startswith("no")
    assert words in line(found.out, topic)
    assert topic in found.err
