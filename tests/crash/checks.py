"""What must hold after every restart, whatever was under way when the platform was killed."""

import hashlib
from collections import Counter
from pathlib import Path

from cli.client import Document
from tests.crash.receiver import Receiver
from tests.crash.site import GONE_S, SETTLED_S, STEADY, Site, gone
from tests.e2e.platform import until

UNFINISHED = {
    "/api/v1/operations": "queued,running",
    "/api/v1/predictions": "starting,processing",
}
RESTS = ("running", "paused", "failed")


def is_sound(site: Site, receiver: Receiver, webhook_id: str) -> None:
    """Wait until nothing is under way, then look everywhere."""
    nothing_is_orphaned(site)
    everything_is_finished(site)
    every_service_is_what_it_says(site)
    every_delivery_arrived(site, receiver, webhook_id)
    nothing_is_half_written(site)
    assert site.service(STEADY)["status"] == "running"


def everything_is_finished(site: Site) -> None:
    """No operation and no prediction is left under way, known to the test or not."""
    for path, statuses in UNFINISHED.items():
        until(lambda p=path, s=statuses: _none(site, p, s), SETTLED_S, f"the end of all {path}")  # type: ignore[misc]  # defaults bind the loop's values


def every_delivery_arrived(site: Site, receiver: Receiver, webhook_id: str) -> None:
    """Each was delivered, at least once; the same bytes have the same id whenever they came."""
    path = f"/api/v1/webhooks/{webhook_id}/deliveries"

    def all_arrived() -> bool | None:
        told = list(site.api.items(path, page_size=500))
        assert not [each for each in told if each["status"] == "failed"]
        arrived = {each.event_id for each in receiver.received}
        late = [each for each in told if each["status"] != "delivered" or each["event"]["id"] not in arrived]
        return None if late else True  # something may have happened just now

    until(all_arrived, SETTLED_S, "the arrival of all deliveries")
    ids_of_bodies = Counter(body for body, _ in {(each.body, each.event_id) for each in receiver.received})
    assert max(ids_of_bodies.values(), default=1) == 1, ids_of_bodies.most_common(1)


def nothing_is_orphaned(site: Site) -> None:
    """What the killed platform had started is gone, and all that is there was started by the new one."""
    until(lambda: gone(site.former), GONE_S, f"the end of {site.former}")
    assert not (left := site.orphans()), left


def every_service_is_what_it_says(site: Site) -> None:
    """Each rests, with as many model servers as it is asked for: rows, processes and answers agree."""
    until(lambda: _agrees(site), SETTLED_S, "services whose processes are what their rows say")


def nothing_is_half_written(site: Site) -> None:
    """Every visible blob is what its name says, every version's bytes are there, no upload's rest is left."""
    folder = site.data / "artifacts"
    assert not [*(folder / "partial").glob("*")]
    blobs = [path for path in (folder / "sha256").rglob("*") if path.is_file()]
    assert not [path for path in blobs if _digest(path) != path.name]
    whole = {path.name for path in blobs}
    for model in site.api.items("/api/v1/models", page_size=500):
        versions = site.api.items(f"/api/v1/models/{model['name']}/versions", page_size=500)
        assert not [version for version in versions if version["digest"].removeprefix("sha256:") not in whole]


def _none(site: Site, path: str, statuses: str) -> bool | None:
    page = site.api.call("GET", path, query={"status.in": statuses, "page_size": 1}).document
    return None if page.get("items") or page.get("results") else True


def _agrees(site: Site) -> bool | None:
    """None while something still moves."""
    living = {child.pid for child in site.children("--replica")}
    if site.children("inspect"):
        return None
    rows: set[int] = set()
    for service in site.api.items("/api/v1/services", page_size=500):
        replicas = site.replicas(str(service["name"]), "starting", "ready", "unready", "stopping")
        if service["status"] not in RESTS or not _is_complete(service, replicas):
            return None
        rows |= {int(replica["pid"]) for replica in replicas}
    return True if rows == living else None


def _is_complete(service: Document, replicas: list[Document]) -> bool:
    wanted = service["replicas"] if service["status"] == "running" else 0
    return len(replicas) == wanted and all(replica["status"] == "ready" for replica in replicas)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
