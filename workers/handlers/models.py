"""Versions: inspect an artifact in a child process, and try a version without a service."""

import base64
import json
from datetime import timedelta
from typing import Any

from core.errors import DiskFull, FieldProblem, InvalidArtifact, InvalidField, PlatformError, Rejected
from core.failpoints import failpoint
from state.features import features_fault, with_features
from state.parts import format_of
from state.queries.versions import VersionFacts, version_facts
from state.tables import Operation
from storage.digests import Digest
from workers.children import ChildEnd, child_environment, run_child, serving_command
from workers.fetching import POINTER
from workers.files import with_files
from workers.handlers.sources import fetch_source
from workers.outcomes import Done, Failed, Outcome, Retry
from workers.resources import Held, Resources
from workers.scratch import scratch_folder

REFUSED = 65  # the child's exit code for a file that its author can mend
OWN_FAULT_ATTEMPTS = 3
TRIAL_ATTEMPTS = 2
MOST_ANSWER_BYTES = 1024 * 1024
GRACE_S = 5.0  # the child ends itself at its limit and can say so; we end it only after this


class InspectionFailed(PlatformError):
    """Our own fault, not the file's: `:retry` inspects again."""

    status, code, title = 500, "inspection_failed", "The inspection failed"


class UnfitFeatures(InvalidArtifact):
    """The names that came with the upload do not fit the inputs of the file."""

    code, title = "features_do_not_fit", "The features do not fit the model"


class InspectionLimit(InvalidArtifact):
    """The file needs more time than an inspection may take."""

    code, title = "inspection_timeout", "The inspection took too long"


class TrialFailed(PlatformError):
    """Our own fault, not the model's."""

    status, code, title = 500, "test_failed", "The test failed"


class AnswerTooLarge(Rejected):
    """The answer does not fit into an operation."""

    status, code, title = 422, "answer_too_large", "The answer is too large"


class TrialLimit(Rejected):
    """The model needs more time for this input than a test may take."""

    code, title = "test_timeout", "The test took too long"


async def inspect(held: Held, resources: Resources) -> Outcome:
    """Describe, load and try the file in a child with a time and memory limit; one at a URL is fetched before."""
    assert isinstance(held.row, Operation)
    settings = resources.settings
    async with resources.database.read() as session:
        facts = await version_facts(session, held.row.target_id)
    if facts.source_uri is not None and not facts.digest:
        return await fetch_source(held, resources, facts.source_uri)
    path = await resources.cache.path(Digest.parse(facts.digest))
    limits = ["--timeout-s", str(settings.inspect_timeout_s), "--memory-mb", str(settings.inspect_memory_mb)]
    command = serving_command(settings, "inspect", str(path), *limits)
    limit_s = settings.inspect_timeout_s + GRACE_S
    failpoint("before_effect")
    # What the child unpacks goes with the folder, also where it is ended at its limit.
    with scratch_folder(settings.data) as folder:
        # Inspections write the archive from which Java starts fast: one comes before every deploy, and has the memory.
        extra = {"PORTSIDE_JVM_ARCHIVES_WRITE": "1", "TMPDIR": str(folder)}
        environment = child_environment(settings.cache, extra)
        end = await run_child(command, environment=environment, stdin=b"", timeout_s=limit_s)
    failpoint("after_effect")
    if end.exit_code == 0:
        return _verdict(held.row, facts, json.loads(end.stdout))
    return _refusal(held, end, settings.inspect_timeout_s, "/file" if facts.source_uri is None else POINTER)


def _verdict(row: Operation, facts: VersionFacts, signature: dict[str, Any]) -> Outcome:
    found, wanted = format_of(signature), row.arguments.get("type")
    if wanted not in (None, "auto", found):
        detail = f"the file at the source is {found.upper()}, not {wanted.upper()}"
        hint = f"leave out 'type', or say '{found}'"
        return Failed(InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/type", detail, hint)]).as_problem())
    fault = features_fault(signature, facts.features) if facts.features else None
    if fault is not None:
        message = f"{fault.detail}; upload it again with other names"
        return Failed(UnfitFeatures(message, fields=[fault]).as_problem())
    target = {"signature": signature, "task": facts.task or signature["task"]}
    return Done(result={}, target=target if facts.source_uri is None else {**target, "format": found})


async def test(held: Held, resources: Resources) -> Outcome:
    """Answer one prediction with the file in a child with a time and memory limit, and keep what it printed."""
    assert isinstance(held.row, Operation)
    settings, arguments = resources.settings, held.row.arguments
    async with resources.database.read() as session:
        facts = await version_facts(session, held.row.target_id)
    path = await resources.cache.path(Digest.parse(facts.digest))
    try:
        body = await _trial_body(held.row, resources)
    except InvalidField as error:
        return Failed(error.as_problem())
    limits = ["--timeout-s", str(settings.inspect_timeout_s), "--memory-mb", str(settings.inspect_memory_mb)]
    kind = ["--content-type", arguments.get("content_type", "")]
    kind += ["--part", arguments["part"]] if arguments.get("part") else []
    with scratch_folder(settings.data) as folder:
        signature = folder / "signature.json"
        signature.write_text(json.dumps(with_features(facts.signature or {}, facts.features)), "utf-8")
        where = ["--model", str(path), "--signature", str(signature)]
        command = serving_command(settings, "test", *where, *kind, *limits)
        end = await run_child(
            command,
            environment=child_environment(settings.cache, {"TMPDIR": str(folder)}),
            stdin=body,
            timeout_s=settings.inspect_timeout_s + GRACE_S,
        )
    if end.exit_code != 0:
        return _trial_refusal(held, end, settings.inspect_timeout_s)
    if len(end.stdout) > MOST_ANSWER_BYTES:
        message = f"the answer has {len(end.stdout)} bytes, a test shows at most {MOST_ANSWER_BYTES}: test fewer rows"
        return Failed(AnswerTooLarge(message).as_problem())
    return Done(result=json.loads(end.stdout), row={"arguments": {}})  # the input need not be kept for a month


async def _trial_body(row: Operation, resources: Resources) -> bytes:
    """What is tried, as it came; the files that JSON names are put in. Raises `InvalidField`."""
    encoded = row.arguments.get("body_base64")
    if encoded is not None:
        return base64.b64decode(encoded)
    return json.dumps(await with_files(row.arguments["body"], row.tenant_id, resources)).encode()


def _trial_refusal(held: Held, end: ChildEnd, limit_s: float) -> Outcome:
    if end.timed_out:
        return Failed(TrialLimit(f"the model took longer than {limit_s:g} s for this input").as_problem())
    if end.exit_code == REFUSED:
        document = json.loads(end.stdout)
        if "status" not in document:  # the model itself could not be loaded, or was out of time or memory
            return Failed(_problem_of(document))
        return Failed({name: value for name, value in document.items() if name not in ("message", "hint")})
    last_lines = "\n".join(end.stderr.strip().splitlines()[-10:])
    if held.claim.attempt < TRIAL_ATTEMPTS:
        return Retry(f"the test ended with code {end.exit_code}: {last_lines[-500:]}", after=timedelta(seconds=0.2))
    message = f"the test ended unexpectedly (code {end.exit_code}); try it again, or look at the log of the worker"
    return Failed(TrialFailed(message, last_lines=last_lines[-2000:]).as_problem())


def _refusal(held: Held, end: ChildEnd, limit_s: float, pointer: str) -> Outcome:
    if end.timed_out:
        return Failed(InspectionLimit(f"inspecting the file took longer than {limit_s:g} s").as_problem())
    if end.exit_code == REFUSED:
        return Failed(_problem_of(json.loads(end.stdout), pointer))
    last_lines = "\n".join(end.stderr.strip().splitlines()[-10:])
    if held.claim.attempt < OWN_FAULT_ATTEMPTS:
        return Retry(f"inspection ended with code {end.exit_code}: {last_lines[-500:]}", after=timedelta(seconds=0.2))
    how = f"signal {-end.exit_code}" if end.exit_code < 0 else f"exit code {end.exit_code}"
    message = f"the inspection ended unexpectedly ({how}); try :retry, or look at the log of the worker"
    return Failed(InspectionFailed(message, last_lines=last_lines[-2000:]).as_problem())


def _problem_of(document: dict[str, Any], pointer: str = "/file") -> dict[str, Any]:
    """The child's {code, message, hint} as a problem that names the field."""
    code, message, hint = str(document["code"]), str(document["message"]), str(document.get("hint") or "")
    if code == DiskFull.code:  # not the file's fault
        return DiskFull(f"{message}. {hint}").as_problem()
    problem = InvalidArtifact(message).as_problem()
    entry = {"pointer": pointer, "detail": message, **({"hint": hint} if hint else {})}
    return {**problem, "type": f"urn:portside:problem:{code}", "code": code, "errors": [entry]}
