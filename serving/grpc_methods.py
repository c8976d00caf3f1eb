"""All that is answered to gRPC, as functions from message to answer, both bytes: inference, health, reflection.

The server's HTTP/1.1 and its gRPC port both answer from these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from serving.problems import Problem
from serving.protocols.grpc_standard import HEALTH, HEALTH_FILE, NOT_SERVING, REFLECTION, SERVING
from serving.protocols.grpc_status import OPEN
from serving.protocols.oip_grpc import InferenceService
from serving.protocols.oip_proto import SERVICE
from serving.protocols.reflection import Reflection
from serving.protocols.surface import ReplicaSurface
from serving.reading import Reading

INFER: Final = f"/{SERVICE}/ModelInfer"


@dataclass(frozen=True, slots=True)
class Method:
    """One method: `answer` and `read` raise `Problem`. `is_open` needs no token, `is_work` may take long."""

    answer: Callable[[bytes], bytes]
    is_open: bool = False
    is_work: bool = False
    read: Callable[[bytes], Reading] | None = None  # what it asks the engine, if it does


class Methods:
    """The methods of one replica by their paths."""

    def __init__(self, surface: ReplicaSurface) -> None:
        self._surface, self._service = surface, InferenceService(surface)
        messages = self._service.messages
        messages.add(HEALTH_FILE)
        self._asked, self._told = messages["HealthCheckRequest"], messages["HealthCheckResponse"]
        self._reflection = Reflection((SERVICE, HEALTH, REFLECTION[0]), messages)

    def by_path(self) -> Mapping[str, Method]:
        """Every method that answers one message with one."""
        found = {
            path: Method(self._inference(path.rpartition("/")[2]), path.encode() in OPEN)
            for path in self._service.paths
        }
        found[INFER] = Method(self._service.infer, is_work=True, read=self._service.read)
        found[f"/{HEALTH}/Check"] = Method(self.health, is_open=True)
        return found | {f"/{service}/ServerReflectionInfo": Method(self._reflection.answer) for service in REFLECTION}

    def part_of(self, message: bytes) -> str:
        """Which part of the model an infer request asks."""
        return self._surface.part_of(self._service.version_asked(message))

    def health(self, message: bytes) -> bytes:
        """Whether the server, its inference service or its model serves. Raises `Problem` 404 for another name."""
        try:
            asked: Any = self._asked.FromString(message)
        except DecodeError as error:
            raise Problem(400, "invalid_input", "the message is no grpc.health.v1.HealthCheckRequest") from error
        name, is_serving = asked.service, self._surface.is_ready
        if name not in ("", SERVICE):
            try:
                self._surface.model(name, "")
            except Problem as problem:
                if problem.status != 503:
                    raise
        return bytes(self._told(status=SERVING if is_serving else NOT_SERVING).SerializeToString())

    def _inference(self, method: str) -> Callable[[bytes], bytes]:
        return lambda message: self._service.answer(method, message)
