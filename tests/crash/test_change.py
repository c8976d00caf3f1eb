"""kill -9 while a running service is changed: the accepted wish comes true, the service is what was asked last."""

from collections.abc import Callable

import pytest

from tests.crash.artifacts import onnx_artifact
from tests.crash.checks import is_sound
from tests.crash.ledger import Begin
from tests.crash.receiver import Receiver
from tests.crash.site import SETTLED_S, Site
from tests.crash.test_kill import after, crash
from tests.e2e.platform import until

LONGEST_S = 1.5


@pytest.mark.campaign
def test_an_accepted_change_comes_true(site: Site, receiver: Receiver, webhook_id: str, begin: Begin) -> None:
    with begin("change") as attempt:
        name = attempt.name
        path = f"/api/v1/services/{name}"
        site.succeeded(site.upload(name, onnx_artifact(attempt.salt), attempt.name))
        site.succeeded(site.upload(name, onnx_artifact(f"{attempt.salt} again"), f"{attempt.name}-2"))
        site.succeeded(site.deploy(name, name))

        def resume() -> str:
            site.succeeded(site.ask("POST", f"{path}:pause"))
            return site.ask("POST", f"{path}:resume")

        changes: dict[str, Callable[[], str]] = {
            "pause": lambda: site.ask("POST", f"{path}:pause"),
            "resume": resume,
            "restart": lambda: site.ask("POST", f"{path}:restart"),
            "scale": lambda: site.ask("PATCH", path, {"replicas": 2}),
            "roll": lambda: site.ask("PATCH", path, {"version": "1"}),
            "delete": lambda: site.ask("DELETE", path),
        }
        operation = attempt.choose(changes)()
        crash(site, attempt, after(attempt.chance.uniform(0, LONGEST_S)))
        site.succeeded(operation)
        is_sound(site, receiver, webhook_id)
        if attempt.moment == "delete":
            assert site.api.find(path) is None
            return
        found = site.service(name)
        assert found["status"] == ("paused" if attempt.moment == "pause" else "running")
        assert found["replicas"] == (2 if attempt.moment == "scale" else 1)
        assert found["version"] == ("1" if attempt.moment == "roll" else "2")
        if attempt.moment != "pause":
            until(lambda: site.answer_of(name), SETTLED_S, "an answer of the changed service")
        site.delete_service(name)
