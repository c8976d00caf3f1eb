"""What is answered whatever happens: a problem in the words of its protocol, and no bug reaches a caller."""

import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import msgspec

from serving.connection import problem_response
from serving.heads import path_of
from serving.messages import Request, Response
from serving.problems import Problem
from serving.protocols import grpc_status
from serving.protocols.oip_rest import error_text
from serving.score import too_much

T = TypeVar("T")


def guarded(handler: Callable[[Request], T], request: Request) -> T | Response:
    """What the handler gives, or the response that says why it gives nothing."""
    try:
        return handler(request)
    except Problem as problem:
        return refused(request, problem)
    except MemoryError:
        return refused(request, too_much())
    except Exception:
        # A bug of ours: the caller learns nothing of it, the log everything.
        traceback.print_exc(file=sys.stderr)
        bug = Problem(500, "internal_error", "the model server failed at this request", hint="see its log")
        return refused(request, bug)


def refused(request: Request, problem: Problem) -> Response:
    """The response that tells a problem to who asked this."""
    path = path_of(request.target)
    if grpc_status.is_grpc(path):
        return grpc_status.refused(problem)
    if path.startswith((b"/v2", b"/v1/")):
        # The protocol's clients know 400 for every mistake in an input.
        status = 400 if problem.status == 422 else problem.status
        return Response(status, msgspec.json.encode({"error": error_text(problem)}), headers=problem.headers)
    request_id = request.headers.get(b"x-request-id", b"")
    return problem_response(problem, path.decode("utf-8", "replace"), request_id.decode("ascii", "replace"))
