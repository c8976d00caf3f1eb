"""Server reflection over the descriptors that we make, a message at a time: what grpcurl and its like ask first."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError

from serving.problems import Problem
from serving.protocols.descriptors import Messages
from serving.protocols.grpc_standard import REFLECTION_FILE

NOT_FOUND: Final = 5


class Reflection:
    """Tells these services, and the files of what one may ask about."""

    def __init__(self, services: Sequence[str], messages: Messages) -> None:
        self._services, self._pool = sorted(services), messages.pool
        messages.add(REFLECTION_FILE)
        self._request, self._response = messages["ServerReflectionRequest"], messages["ServerReflectionResponse"]

    def answer(self, message: bytes) -> bytes:
        """One answer. Raises `Problem` 400 for what is no request; what is not there is told in the answer."""
        try:
            request: Any = self._request.FromString(message)
        except DecodeError as error:
            raise Problem(400, "invalid_input", "the message is no ServerReflectionRequest") from error
        told: Any = self._response(valid_host=request.host, original_request=request)
        if request.HasField("list_services"):
            for name in self._services:
                told.list_services_response.service.add(name=name)
        elif (file := self._file(request)) is not None:
            for each in _with_imports(file, set()):
                told.file_descriptor_response.file_descriptor_proto.append(each.serialized_pb)
        else:  # nothing of ours can be extended
            told.error_response.error_code, told.error_response.error_message = NOT_FOUND, "there is no such thing here"
        return bytes(told.SerializeToString())

    def _file(self, request: Any) -> FileDescriptor | None:
        try:
            if request.HasField("file_by_filename"):
                return self._pool.FindFileByName(request.file_by_filename)
            return self._pool.FindFileContainingSymbol(request.file_containing_symbol)
        except KeyError:
            return None


def _with_imports(file: FileDescriptor, seen: set[str]) -> Iterator[FileDescriptor]:
    if file.name not in seen:
        seen.add(file.name)
        yield file
        for each in file.dependencies:
            yield from _with_imports(each, seen)
