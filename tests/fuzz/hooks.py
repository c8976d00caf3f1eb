"""Loaded by schemathesis: keeps the run on this machine, and knows which refusals no schema can foretell.

Requests are sent as they are but for what `LIMITS` and `ADDRESSES` say. A failure is dropped where a line below has the
problem's own code, the operation and the field, and no other; how many were is in the table of the run.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

IDEMPOTENCY_KEY = "Idempotency-Key"
NOBODY = "127.0.0.1:9"
# Members of bodies that the platform would call: it calls this machine, where nobody answers, and no stranger.
ADDRESSES = ("url", "webhook", "source_uri")
# What is in order and would end the run all the same, with what is sent for it: 64 model servers of 100 MB each, an
# answer that waits for a minute. What is beyond the most is sent as it is: it must be refused.
LIMITS = {"replicas": (2, 64), "timeout": (1, 60)}


@dataclass(frozen=True)
class Cause:
    """Why a request that fits the description may be refused: the problem's code, and what it points at."""

    code: str
    why: str
    operations: str = ".*"
    pointers: str = ".*"
    detail: str = ".*"

    def explains(self, operation: str, problem: dict[str, Any]) -> bool:
        """Whether this is what was refused."""
        pointers = [error["pointer"] for error in problem.get("errors") or [{"pointer": ""}]]
        return (
            problem.get("code") == self.code
            and re.fullmatch(self.operations, operation) is not None
            and re.fullmatch(self.detail, str(problem.get("detail")), re.DOTALL) is not None  # names may have newlines
            and all(re.fullmatch(self.pointers, pointer, re.DOTALL) for pointer in pointers)
        )


PREDICTING = "predict|predict_part|test_version|test_part|(create|put)_.*prediction.*"
MANY = "(cancel|retry|pause|resume)_(operations|predictions|services)"
INVALID = "invalid_field"
CAUSES = (
    Cause("stale_etag", "which etag is the present one, only the resource tells"),
    Cause("idempotency_key_reused", "whether a key came before with another body is not in the request"),
    Cause("malformed_body", "JSON may have a NUL, and a database stores none", detail=".*NUL character.*"),
    Cause(INVALID, "a query may have a NUL, and a database stores none", detail=".*NUL character.*"),
    Cause(INVALID, "a page token is opaque: only `next_page_token` of the same list is one", "list_.*", "/page_token"),
    Cause("invalid_input", "what a model takes is in its signature, not in the description", PREDICTING),
    Cause(INVALID, "which of the forms of an input fits is said in words", PREDICTING),
    Cause("invalid_artifact", "whether bytes are a model, only reading them tells", "create_model|upload_version"),
    Cause(
        INVALID, "either `ids` or `filter`: generators of clients cannot read it as a schema", MANY, "|/ids|/filter.*"
    ),
    Cause(INVALID, "which inputs a model has", "(update|upload)_version|create_model", "/features.*"),
    Cause("unknown_field", "what a filter knows is what the list's query takes", MANY, "/filter.*"),
    Cause(INVALID, "whether a URL can be called depends on its host", pointers="/url|/source_uri|/webhook"),
    Cause(
        INVALID, "a form's field holds JSON, which its schema would hide from form clients", "create_file", "/metadata"
    ),
    Cause(
        "dataset_not_ready", "whether it is ready, only the dataset tells", "(get|list|preview|download|put|delete)_.*"
    ),
    Cause(INVALID, "which of the ways in is taken is said in words", "create_dataset"),
    Cause("incomplete_upload", "which parts are there, only the upload tells", "create_dataset", "/upload"),
    Cause(INVALID, "a path has no empty steps and none back", "put_dataset_file", "/path"),
    Cause("digest_mismatch", "the digest must be that of the body", "put_upload_part"),
    Cause("no_files", "a table has rows and no files", ".*_dataset_files?"),
    Cause("path_taken", "a file of this path would be a folder, too", "put_dataset_file"),
    Cause(INVALID, "how many parts there are, only the dataset tells", "download_dataset", "/part"),
    Cause(INVALID, "a time that is past is one to the schema", "create_token", "/expires_at"),
    Cause(INVALID, "which of two times is the later", "redeliver_range", "/until"),
    Cause(INVALID, "one parameter goes with another only, and a schema knows each alone", "delete_model", "/services"),
    Cause(INVALID, "the body's name must be the path's", "upload_version|put_service", "/name"),
    Cause(INVALID, "a duration is in the range or not", "(create|put|update)_service", "/expires_after"),
    Cause(INVALID, "a duration is in the range or not", "get_service_metrics", "/window"),
    Cause(INVALID, "which ports services may use is a setting", "(create|put|update)_service", "/port"),
    Cause(INVALID, "to JSON Schema 60.0 is an integer, to us it is none", detail=".*should be a valid integer"),
    Cause(
        INVALID, "a quantity in words is in the range or not", "(create|put|update)_service", "/resources/(cpu|memory)"
    ),
)


def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Keep the run on this machine and within its time."""
    for given in (case.body, case.query):
        if isinstance(given, dict):
            given |= {name: _within(given[name], *limits) for name, limits in LIMITS.items() if name in given}
    if isinstance(case.body, dict):
        case.body |= {name: _elsewhere(case.body[name]) for name in ADDRESSES if name in case.body}
    # In a sequence a key is new: one that came before names what was made then, and may be gone by now.
    in_sequence = case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL
    if in_sequence and IDEMPOTENCY_KEY in (case.headers or {}):
        case.headers[IDEMPOTENCY_KEY] = uuid4().hex
    if isinstance(case.query, dict) and str(case.query.get("follow")).lower() == "true":
        case.query["follow"] = "false"  # a log that is followed ends when its replica does


def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether this failure counts."""
    operation = case.operation.definition.raw["operationId"]
    if isinstance(failure, RejectedPositiveData):
        return not any(cause.explains(operation, response.json()) for cause in CAUSES)
    # What the description says: while a service is being deployed it is 503, and when to come again.
    if isinstance(failure, ServerError) and operation == "predict":
        is_unready = response.status_code == 503 and response.json().get("code") == "service_unavailable"
        return not (is_unready and "retry-after" in response.headers)
    # Any bytes are a file: what schemathesis believes to have spoilt is sent as it should be.
    if isinstance(failure, AcceptedNegativeData) and operation == "create_file":
        return not set(case.body) <= {"content", "metadata"}
    # To delete a switch-off is to switch on again: the switch is there before and after.
    return not (isinstance(failure, UseAfterFree) and operation in ("get_switch", "switch_on", "switch_off"))


def _elsewhere(given: object) -> object:
    parts = urlsplit(given) if isinstance(given, str) and given.startswith(("http://", "https://")) else None
    return given if parts is None or not parts.hostname else parts._replace(netloc=NOBODY).geturl()


def _within(given: object, sent: int, most: int) -> object:
    is_larger = re.fullmatch(r"\d+(\.\d+)?", str(given)) is not None and sent < float(str(given)) <= most
    return sent if is_larger else given


schemathesis.hook(before_call)
schemathesis.hook(filter_failure)
