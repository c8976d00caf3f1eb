"""What Triton's clients ask of a server beside predictions: its repository, settings and shared memory.

A replica serves what the platform gave it, so these answer what is so, and refuse to change it with a reason.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from serving.json_text import parse
from serving.messages import Request, Response
from serving.problems import Problem, shorten
from serving.protocols.tensors import mistake

Handler = Callable[[Request], Response]
Handlers = Mapping[bytes, Handler]
Settings = Mapping[str, object]

# Of Triton's names those whose operations are really served; the rest answer that there is nothing.
EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics")
NO_TRACE: Final[Settings] = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "0",
    "trace_count": "0",
    "log_frequency": "0",
    "trace_mode": "triton",
}
LOGGING: Final[Settings] = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
MOST_BYTES: Final = 64 * 1024
_REGION = re.compile(r"/v2/(system|cuda)sharedmemory(?:/region/([^/]+))?/(status|register|unregister)")
_MODEL = re.compile(r"/v2/repository/models/([^/]+)/(load|unload)")
_OWN_ACTIONS = "the platform decides which models are served: pause or delete its service instead"


class OipAdmin:
    """Answers these requests for the one model of a server. `keys` are the versions beside its own, once known."""

    def __init__(
        self, name: str, version: str, keys: Callable[[], Sequence[str]], is_ready: Callable[[], bool]
    ) -> None:
        self._name, self._version, self._keys, self._is_ready = name, version, keys, is_ready
        tracing, logging = _settings(NO_TRACE), _settings(LOGGING)
        own = f"/v2/models/{name}"
        self._by_path: dict[str, Handlers] = {
            "/v2/repository/index": {b"POST": self._index},
            "/v2/trace/setting": tracing,
            f"{own}/trace/setting": tracing,
            f"{own}/versions/{version}/trace/setting": tracing,
            "/v2/logging": logging,
        }

    def handlers(self, path: str) -> Handlers | None:
        """What answers this decoded path, by method; `None` where there is nothing of the kind."""
        if not path.startswith("/v2/"):
            return None
        if (region := _REGION.fullmatch(path)) is not None:
            return _shared_memory(*region.groups())
        if (model := _MODEL.fullmatch(path)) is not None:
            return {b"POST": self._loader(*model.groups())}
        return self._by_path.get(path)

    def _index(self, request: Request) -> Response:
        """Every version there is, or with `{"ready": true}` those that answer."""
        asked = _object(request.body)
        is_ready, only_ready = self._is_ready(), asked.get("ready", False)
        if type(only_ready) is not bool:
            raise mistake("`ready` is neither true nor false")
        versions = [self._version, *self._keys()] if is_ready or not only_ready else []
        state, reason = ("READY", "") if is_ready else ("LOADING", "the model is still being loaded")
        index = [{"name": self._name, "version": each, "state": state, "reason": reason} for each in versions]
        return Response(200, msgspec.json.encode(index))

    def _loader(self, name: str, verb: str) -> Handler:
        def answer(request: Request) -> Response:
            parameters = _object(request.body).get("parameters") or {}
            failed = f"failed to {verb} '{shorten(name, 200)}', "
            if name != self._name:
                raise Problem(404, "not_found", f"{failed}no model of this name is served here")
            if not isinstance(parameters, dict):
                raise mistake(f"{failed}its `parameters` are not an object")
            if verb == "unload":
                raise Problem(409, "not_allowed", failed + _OWN_ACTIONS)
            if given := [key for key in parameters if key == "config" or key.startswith("file:")]:
                hint = "upload a version of the model instead"
                raise mistake(f"{failed}the parameter {shorten(given[0])!r} would change what is served", hint)
            if not self._is_ready():
                detail = f"{failed}it is still being loaded"
                raise Problem(503, "model_loading", detail, headers={"retry-after": "1"})
            return Response(200, b"{}")

        return answer


def _settings(settings: Settings) -> Handlers:
    """Reads settings that cannot be changed; to set one to what it is, or to leave it, is no change."""
    told = msgspec.json.encode(settings)

    def read(request: Request) -> Response:
        return Response(200, told)

    def update(request: Request) -> Response:
        for name, value in _object(request.body).items():
            if name not in settings:
                raise mistake(f"there is no setting {shorten(name)!r}", f"there are: {', '.join(settings)}")
            current = settings[name]
            if value is not None and value != current and [value] != current and str(value) != current:
                raise mistake(f"the setting {name!r} is {current!r} and cannot be changed here")
        return Response(200, told)

    return {b"GET": read, b"POST": update}


def _shared_memory(kind: str, region: str | None, verb: str) -> Handlers:
    """No region is ever registered, which is so for its status and for who lets go of it."""
    what = f"{kind} shared memory"

    def status(request: Request) -> Response:
        if region is not None:
            raise mistake(f"Unable to find {what} region: '{shorten(region, 200)}'")
        return Response(200, b"[]")

    def register(request: Request) -> Response:
        raise mistake(f"{what} is not served", "send the tensors in the body: JSON or binary data")

    def unregister(request: Request) -> Response:
        return Response(200, b"{}")

    if verb == "status":
        return {b"GET": status}
    return {b"POST": register if verb == "register" else unregister}


def _object(body: bytes) -> Mapping[str, object]:
    """A body that may be left out. Raises `Problem` 400."""
    if len(body) > MOST_BYTES:  # the loop reads these
        raise Problem(413, "too_large", f"the body is larger than the {MOST_BYTES} bytes allowed here")
    if not body.strip():
        return {}
    found = parse(body)
    if not isinstance(found, dict):
        raise mistake("the body is JSON but no object")
    return found
