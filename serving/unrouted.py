"""What is told of a path that nothing answers: the nearest thing that does."""

import re
from collections.abc import Sequence

from serving.heads import loading
from serving.problems import Problem, shorten
from serving.protocols import grpc_status, v1
from serving.score import Identity

_PART = re.compile(r"(?:/api/v1/services/[^/]+)?/parts/([^/]*)/predict")


def unrouted(path: str, identity: Identity, keys: Sequence[str], *, is_loading: bool) -> Problem:
    """The problem of a decoded path; `keys` are those of the model's parts, which are not known while it loads."""
    if grpc_status.is_grpc(path.encode()):
        return Problem(501, "not_served", f"there is no method {path[:200]}")
    if path.startswith("/v2/models/"):
        name, *rest = path.removeprefix("/v2/models/").split("/")
        if name != identity.name:
            return Problem(404, "not_found", f"Request for unknown model: '{name[:200]}' is not found")
        if rest[:1] == ["versions"] and rest[1:2] != [identity.version]:
            return _unknown_version(identity, rest[1] if len(rest) > 1 else "", keys, is_loading=is_loading)
    elif path.startswith("/v1/"):
        return v1.unrouted(path, identity.name)
    elif (found := _PART.fullmatch(path)) is not None:
        return loading() if is_loading else _unknown_part(found[1], keys)
    hint = f"predictions go to POST /predict or /v2/models/{identity.name}/infer"
    return Problem(404, "not_found", f"there is nothing at {path[:200]}", hint=hint)


def _unknown_version(identity: Identity, version: str, keys: Sequence[str], *, is_loading: bool) -> Problem:
    if is_loading and not version.isdecimal():
        return loading()  # its parts are not known yet
    detail = f"Request for unknown model: '{identity.name}' version {version[:200]} is not found"
    hint = f"its versions: {', '.join([identity.version, *keys])}" if keys else ""
    return Problem(404, "not_found", detail, hint=hint)


def _unknown_part(key: str, keys: Sequence[str]) -> Problem:
    if not keys:
        return Problem(404, "not_found", "this model has no parts", hint="predictions go to POST /predict")
    return Problem(404, "not_found", f"this model has no part {shorten(key)!r}; its parts: {', '.join(keys)}")
