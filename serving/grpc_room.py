"""Room for the messages of gRPC, as for the bodies of HTTP: its library has read a message before anybody may wait."""

import asyncio
from typing import Final

from serving.connection import Application
from serving.crew import overloaded
from serving.messages import Request, Response
from serving.problems import Problem
from serving.protocols import grpc_status
from serving.room import SMALL_BYTES, Room

FULL: Final = "there is no room for a message of this size beside those that are being answered"


class RoomedApplication:
    """Answers as another application does, and refuses large messages beyond the room that they share."""

    def __init__(self, application: Application, room: Room) -> None:
        self._application, self._room = application, room

    def answer(self, request: Request) -> "Response | asyncio.Future[Response]":
        """See `connection.Application`."""
        size = len(request.body)
        if size <= SMALL_BYTES:
            return self._application.answer(request)
        if not self._room.take(size):
            problem = overloaded(FULL)
            self._application.refusal(problem)  # which may be written down
            return grpc_status.refused(problem)
        answer = self._application.answer(request)
        if isinstance(answer, Response):
            self._room.give_back(size)
        else:
            answer.add_done_callback(lambda _: self._room.give_back(size))
        return answer

    def refusal(self, problem: Problem) -> Response:
        """See `connection.Application`."""
        return self._application.refusal(problem)
