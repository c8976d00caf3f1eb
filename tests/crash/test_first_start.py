"""kill -9 while a folder becomes an installation: the next start makes the rest of it."""

import time
from pathlib import Path

import pytest

from tests.crash.ledger import Begin
from tests.crash.site import SETTLED_S
from tests.crash.test_kill import after, when
from tests.e2e.platform import RunningPlatform, start_up, until


@pytest.mark.campaign
def test_a_first_start_that_is_killed_is_made_good_by_the_next(tmp_path: Path, begin: Begin) -> None:
    with begin("first") as attempt:
        process = start_up(tmp_path, "--port", "0")
        moment = attempt.choose(
            {
                "when the key is being made": when(lambda: any(tmp_path.glob("secret.key*"))),
                "when the database is being made": when((tmp_path / "portside.db").exists),
                "when there is an address": when((tmp_path / "address").exists),
                "by chance": after(attempt.chance.uniform(0.2, 1.5)),
            }
        )
        moment()
        process.kill()
        process.communicate()
        began = time.monotonic()
        platform = RunningPlatform.start(tmp_path)
        try:
            with platform.client() as client:
                until(lambda: client.find("/api/v1/me"), SETTLED_S, "an answer")
                attempt.first_answer_s = time.monotonic() - began
                assert client.get("/api/v1/webhooks/default/secret")["key"].startswith("whsec_")
        finally:
            status, _ = platform.end()
        assert status == 0
