"""What there is and how it is: models, services, one service, the platform."""

import sys
from urllib.parse import quote

from cli.client import Platform
from cli.failure import CommandFailed
from cli.output import Columns, Output
from cli.words import age_in_words, minute_in_a_line, off_in_lines

HISTORY_SHOWN = 10
ENDED = ("stopped", "failed")


MODELS: Columns = {
    "name": lambda model: str(model["name"]),
    "versions": lambda model: str(model["versions"]),
    "latest ready": lambda model: str(model["latest"]["version"]) if model.get("latest") else "none",
    "age": lambda model: age_in_words(model["created_at"]),
}
SERVICES: Columns = {
    "name": lambda service: str(service["name"]),
    "status": lambda service: str(service["status"]),
    "model": lambda service: f"{service['model']} {service['version']}",
    "ready": lambda service: f"{service['ready_replicas']}/{service['replicas']}",
    "age": lambda service: age_in_words(service["created_at"]),
    "url": lambda service: str(service["url"]),
}


def show_models(platform: Platform, output: Output) -> None:
    """The models, newest first."""
    models = list(platform.items("/api/v1/models", page_size=500))
    output.rows(models, MODELS, "No models yet: make one with `portside deploy model.onnx`.")


def show_services(platform: Platform, output: Output) -> None:
    """The services, newest first."""
    services = list(platform.items("/api/v1/services", page_size=500))
    output.rows(services, SERVICES, "No services yet: make one with `portside deploy model.onnx`.")


def show_service(platform: Platform, name: str, output: Output) -> None:
    """One service: how it is, its replicas, what happened to it last."""
    path = f"/api/v1/services/{quote(name, safe='')}"
    service = platform.get(path)
    if output.is_for_scripts:
        output.document(service)
        return
    reason = f" ({service['reason']}: {service['message'] or ''})" if service.get("reason") else ""
    output.data(f"{name} is {service['status']}{reason} since {age_in_words(service['since'])}")
    follows = f" (it follows {service['version_ref']})" if service.get("version_ref") else ""
    output.data(f"serves {service['model']} version {service['version']}{follows} at {service['url']}")
    if metrics := platform.find(f"{path}/metrics"):
        output.data(minute_in_a_line(metrics))
    output.data("")
    replicas = [replica for replica in platform.get(f"{path}/replicas")["items"] if replica["status"] not in ENDED]
    rows = [(str(r["id"]), str(r["status"]), age_in_words(r["since"]), r.get("message") or "") for r in replicas]
    output.table(("replica", "status", "since", "message"), rows)
    output.data("")
    changes = list(platform.get(f"{path}/history", page_size=500)["items"])
    newest = sorted(changes, key=lambda change: int(change["sequence"]), reverse=True)[:HISTORY_SHOWN]
    shown = [
        (
            age_in_words(c["at"]),
            f"{c['from']} → {c['to']}" if c["from"] else c["to"],
            str(c["actor"]),
            c.get("message") or c.get("reason") or "",
        )
        for c in newest
    ]
    output.table(("ago", "change", "by", "why"), shown)


def show_platform(platform: Platform, output: Output) -> None:
    """Whether the platform is ready, its version, what waits. Raises `CommandFailed` when it is not ready."""
    control, system = platform.call("GET", "/readyz/control"), platform.get("/api/v1/system")
    if output.is_for_scripts:
        output.document({"url": platform.url, **control.document, **system})
        return
    output.data(f"Portside {system['version']} at {platform.url}: {control.document['status']}")
    rows = [
        (str(lane), str(found["working"]), str(found["waiting"]), f"{found['oldest_s']:.1f} s")
        for lane, found in system["lanes"].items()
    ]
    for line in off_in_lines(system):
        output.data(line)
    output.table(("lane", "working", "waiting", "oldest"), rows)


def show_logs(platform: Platform, name: str, *, follow: bool) -> None:
    """The log of each replica, or with `follow` of the newest one as it grows. Raises `CommandFailed`."""
    path = f"/api/v1/services/{quote(name, safe='')}/replicas"
    replicas = sorted(platform.get(path, page_size=500)["items"], key=lambda replica: str(replica["created_at"]))
    alive = [replica for replica in replicas if replica["status"] not in ENDED]
    chosen = alive or replicas[-1:]
    if not chosen:
        raise CommandFailed(f"{name} has no replica, and none has left a log.")
    if follow:
        if len(alive) > 1:
            print(f"Following {chosen[-1]['id']}, the newest of {len(alive)} replicas.", file=sys.stderr)
        for piece in platform.stream(f"{path}/{chosen[-1]['id']}/logs", follow="true"):
            print(piece, end="", flush=True)
        return
    for replica in chosen:
        if len(chosen) > 1:
            print(f"==> {replica['id']} ({replica['status']})")
        for piece in platform.stream(f"{path}/{replica['id']}/logs"):
            print(piece, end="")
