"""`python -m benchmarks.peers.empty PORT`: our connection protocol answering a constant, whatever is asked.

The most that the stack under our model server can do where Python reads the requests: what a replica does less is what
its work costs. Its compiled way, for the plainest requests, reads them for less.
"""

import asyncio
import sys

import uvloop

from serving.connection import Connection, problem_response
from serving.messages import Request, Response, ResponseEncoder
from serving.problems import Problem

ANSWER = b'{"outputs":[{"data":[0.3,0.125,0.575]}]}'
MAX_BODY_BYTES = 64 * 2**20


class Constant:
    """An application without any work."""

    def answer(self, request: Request) -> Response:
        """The constant."""
        return Response(200, ANSWER)

    def refusal(self, problem: Problem) -> Response:
        """The response to what is no request."""
        return problem_response(problem, "/")


async def serve(port: int) -> None:
    """Serve until killed."""
    encoder, connections = ResponseEncoder(), set[Connection]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(Constant(), encoder, MAX_BODY_BYTES, connections), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
