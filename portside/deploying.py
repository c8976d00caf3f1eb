"""From a file to a service: upload, inspect, deploy. What is there already is not done again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import quote

from portside.errors import InvalidInput, NotFound
from portside.messages import Document, Json, Repeat, Request
from portside.requests import IDEMPOTENCY_KEY, changing, new_key, path_to
from portside.session import Session
from portside.sources import ModelFile, Source, source_of
from portside.waiting import Patience, operation_of, wait_for_operation

LONGEST_NAME = 48
UP = ("running", "degraded", "updating", "deploying", "pending")
LEAVING = ("pausing", "deleting")  # what comes of it decides how to go on
WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Made:
    """A resource as it is now, and the operation that is still to be waited for, if any."""

    document: Document
    operation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be deployed as what; without `replicas` as many as there are, or one."""

    source: Source
    service: str
    model: str
    replicas: int | None

    @classmethod
    def make(cls, file: ModelFile, name: str | None, model: str | None, replicas: int | None) -> "Plan":
        """With its defaults: the service is named after the file, the model as the service. Raises `InvalidInput`."""
        source = open_source(file)
        service = name or service_name(source.name)
        if not service:
            raise InvalidInput(f"No name can be made of {source.name or 'a file without one'}: give name=….")
        return cls(source, service, model or service, replicas)


def service_name(file_name: str) -> str:
    """A service's name made of a file's name; empty where none can be made."""
    stem = PurePath(file_name).stem.lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-").lstrip("0123456789-")[:LONGEST_NAME].rstrip("-")


def open_source(file: ModelFile) -> Source:
    """The bytes to upload. Raises `InvalidInput` for a handle that cannot be read twice."""
    try:
        return source_of(file)
    except ValueError as error:
        raise InvalidInput(f"{error}.") from error


def upload_request(source: Source, model: str) -> Request:
    """A new version of the model, which is made where there is none. Raises `OSError`."""
    headers = {
        IDEMPOTENCY_KEY: new_key(),
        "content-type": "application/octet-stream",
        "content-length": str(source.size_bytes),
    }
    if source.name:
        headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(source.name, safe='')}"
    path = path_to("models", model, "versions")
    return Request("POST", path, {}, headers, source, Repeat.ALWAYS, wants_document=True)


async def known_version(session: Session, source: Source, model: str) -> Document | None:
    """The ready version of the model with these bytes, if there is one. Raises `OSError` and what `send` raises."""
    try:
        found = await session.get(path_to("models", model, "versions", await session.digest(source)))
    except NotFound:
        return None
    return found if found["status"] == "ready" else None


async def upload(session: Session, source: Source, model: str, patience: Patience, *, wait: bool) -> Made:
    """The version with these bytes: one that is ready, or a new one; with `wait` it is ready in any case.

    Raises `OSError`, `OperationFailed`, `WaitTimeout` and what `Session.send` raises.
    """
    known = await known_version(session, source, model)
    if known is not None:
        return Made(known)
    answer = await session.send(upload_request(source, model), patience.left_s)
    operation = await operation_of(session, answer)
    if wait:
        await wait_for_operation(session, operation, patience)
    version = await session.get(path_to("models", model, "versions", str(operation["target"]["name"])))
    return Made(version, None if wait else str(operation["id"]))


async def deploy(session: Session, plan: Plan, patience: Patience, *, wait: bool) -> Made:
    """The service as it is then.

    Without `wait` too the inspection is waited for: only a ready version can be deployed. Raises what `upload` raises.
    """
    version = await upload(session, plan.source, plan.model, patience, wait=True)
    path = path_to("services", plan.service)
    operation_id = await _wish(session, plan, path, version.document, patience)
    if wait:
        return Made(await settled(session, operation_id, path, patience))
    return Made(await session.get(path), operation_id)


async def _wish(session: Session, plan: Plan, path: str, version: Document, patience: Patience) -> str | None:
    """Say what is wanted; answers the id of the operation that brings it about, if one has to."""
    wish: dict[str, Json] = {"model": plan.model, "version": version["version"]}
    if plan.replicas is not None:
        wish["replicas"] = plan.replicas
    try:
        service = await session.get(path)
        if service["status"] in LEAVING:
            service = await settled(session, operation_id_of(service), path, patience)
    except NotFound:
        answer = await session.send(changing("POST", path_to("services"), {"name": plan.service, **wish}))
        return str((await operation_of(session, answer))["id"])
    if _serves(service, wish):
        return operation_id_of(service)
    answer = await session.send(changing("PATCH", path, wish))
    if service["status"] == "paused":
        answer = await session.send(changing("POST", f"{path}:resume"))
    return str((await operation_of(session, answer))["id"])


def _serves(service: Document, wish: Mapping[str, Json]) -> bool:
    return service["status"] in UP and all(service[name] == value for name, value in wish.items())


def operation_id_of(document: Document) -> str | None:
    """The operation that holds a resource, if any."""
    link: str | None = document.get("operation")
    return link.rpartition("/")[2] if link else None


async def settled(session: Session, operation_id: str | None, path: str, patience: Patience) -> Document:
    """The resource after the operation, if one is given. Raises what `wait_for_operation` and `send` raise."""
    if operation_id is not None:
        await wait_for_operation(session, await session.get(path_to("operations", operation_id)), patience)
    return await session.get(path)
