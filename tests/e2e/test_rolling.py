"""A service is changed while it is asked without a pause: no request fails, and only what must be replaced is."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from cli.changes import change_service
from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.output import Output
from tests.e2e.platform import RunningPlatform, until

ROLLED = "/api/v1/services/rolled"
BODY = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
WAIT = {"Prefer": "wait=60"}
CLIENTS = 3
PAUSE_S = 0.02


class Load:
    """Clients that ask one after the other, and the statuses that they were answered with."""

    def __init__(self, url: str) -> None:
        self.statuses: list[int] = []
        self._url, self._ends = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        with httpx2.Client(timeout=90) as client:
            while not self._ends.wait(PAUSE_S):
                self.statuses.append(client.post(f"{self._url}{ROLLED}/predict", json=BODY).status_code)

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ends.set()
            for thread in self._threads:
                thread.join(20)


@pytest.fixture
def platform(attacked: RunningPlatform) -> Iterator[Platform]:
    """A client of a platform that serves `rolled` with two replicas."""
    with attacked.client() as client:
        put(client, {"A": "1"})
        yield client
        client.call("DELETE", ROLLED, headers=WAIT, timeout_s=90)


def put(platform: Platform, env: Mapping[str, str]) -> int:
    body = {"model": "iris", "replicas": 2, "env": env}
    return platform.call("PUT", ROLLED, body, headers=WAIT, timeout_s=90).status


def ready(platform: Platform) -> dict[str, str]:
    """The replicas that answer, by id, with what they run."""
    return {row["id"]: row["revision"] for row in platform.items(f"{ROLLED}/replicas", status="ready")}


def service(platform: Platform) -> Mapping[str, Any]:
    found: Mapping[str, Any] = platform.get(ROLLED)
    assert (found["status"], found["ready_replicas"]) == ("running", 2)
    return found


def test_replace_roll_back_and_restart_one_replica_without_a_failed_request(
    attacked: RunningPlatform, platform: Platform
) -> None:
    load = Load(attacked.url)
    with load.running():
        assert put(platform, {"A": "1"}) == 200  # the same: nothing happens
        first = ready(platform)
        assert put(platform, {"A": "2"}) == 200
        second = ready(platform)
        assert not first.keys() & second.keys()

        rolled = platform.call("POST", f"{ROLLED}:rollback", headers=WAIT, timeout_s=90)
        assert (rolled.status, service(platform)["revision"]) == (200, 3)
        third = ready(platform)
        assert not second.keys() & third.keys()

        leaving, staying = sorted(third)
        restarted = platform.call("POST", f"{ROLLED}/replicas/{leaving}:restart", headers=WAIT, timeout_s=90)
        assert (restarted.status, restarted.document["status"]) == (200, "succeeded")
        last = ready(platform)
        assert staying in last
        assert leaving not in last
        assert (len(last), service(platform)["revision"]) == (2, 3)
        time.sleep(PAUSE_S)
    assert set(load.statuses) == {200}
    assert len(load.statuses) > 20


def test_the_verb_rolls_back_and_says_so_and_exits_by_the_reason_when_it_cannot(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandFailed, match="no revision before 1") as refused:
        change_service(platform, "rolled", "rollback", Output(), wait_s=60)
    assert refused.value.exit_status is Exit.CONFLICT
    with pytest.raises(CommandFailed, match="no revision 7") as missing:
        change_service(platform, "rolled", "rollback", Output(), wait_s=60, body={"revision": 7})
    assert missing.value.exit_status is Exit.NOT_FOUND
    put(platform, {"A": "2"})
    change_service(platform, "rolled", "rollback", Output(), wait_s=60, body={"revision": 1})
    assert "rolled is rolled back" in capsys.readouterr().err
    assert service(platform)["revision"] == 3


def test_a_service_whose_time_is_over_is_gone_and_its_name_is_free(attacked: RunningPlatform) -> None:
    brief = {"name": "brief", "model": "iris", "expires_after": "1s"}
    with attacked.client() as client:
        for _ in range(2):
            client.call("POST", "/api/v1/services", brief)
            until(lambda: None if client.find("/api/v1/services/brief") else True, 60, "the end of the service")
