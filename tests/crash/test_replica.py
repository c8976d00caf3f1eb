"""A replica that is killed from outside is replaced, and the service's history tells who saw it, why and when."""

import os
import signal
import time
from datetime import datetime

from tests.crash.ledger import Begin
from tests.crash.site import SETTLED_S, STEADY, Site
from tests.e2e.platform import until


def test_a_replica_killed_from_outside_is_replaced_and_the_history_tells_so(site: Site, begin: Begin) -> None:
    with begin("replica") as attempt:
        attempt.moment = "while it serves"
        until(lambda: True if site.service(STEADY)["status"] == "running" else None, SETTLED_S, "the service at rest")
        [before] = site.replicas(STEADY, "ready")
        killed_at = time.time()
        os.kill(before["pid"], signal.SIGKILL)
        until(lambda: (before["id"] not in _ready(site) and _ready(site)) or None, SETTLED_S, "another replica")
        until(lambda: site.answer_of(STEADY), SETTLED_S, "an answer of it")
        attempt.first_answer_s = time.time() - killed_at
        until(lambda: True if site.service(STEADY)["status"] == "running" else None, SETTLED_S, "the recovery")
        recovered, degraded, *_ = site.api.items(f"/api/v1/services/{STEADY}/history")
        assert (degraded["from"], degraded["to"], degraded["actor"]) == ("running", "degraded", "watcher")
        assert degraded["reason"] == "replica_lost"
        assert before["id"] in degraded["message"]
        assert "SIGKILL" in degraded["message"]
        assert (recovered["from"], recovered["to"], recovered["actor"]) == ("degraded", "running", "watcher")
        moments = [datetime.fromisoformat(change["at"]).timestamp() for change in (degraded, recovered)]
        assert killed_at - 0.01 <= moments[0] <= moments[1] <= killed_at + attempt.allowed_s
        [gone] = [each for each in site.replicas(STEADY, "failed") if each["id"] == before["id"]]
        assert gone["reason"] == "killed"


def _ready(site: Site) -> list[str]:
    return [str(replica["id"]) for replica in site.replicas(STEADY, "ready")]
