"""Scripts in jobs: who may have one, where its text goes, and the spec with which it is kept."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from api.mutations import Call
from api.schemas.batch_specs import patched
from api.schemas.script_specs import ScriptBody, ScriptSpecBody, entry_of, script_document, stored_script
from api.uploads import keep
from api.validation import read_body
from core.errors import FieldProblem, Forbidden, InvalidField, Json
from state.database import Session
from state.jobtables import Job, Run
from state.operations import Who
from state.running import RunSpec
from state.scripting import uploaded_script
from storage.base import Stored

TEXT_NAME = "main.py"


class ScriptNeedsToken(Forbidden):
    """A script is code of somebody's: who asks for it says who he is."""

    code, title = "script_needs_token", "Scripts need a token"


def require_token(who: Who) -> None:
    """Raises `ScriptNeedsToken` for callers of this machine without one: any of its pages and users might be one."""
    if not who.has_token:
        raise ScriptNeedsToken(
            "a script runs code, and this request came without a token; make one with `export "
            "PORTSIDE_TOKEN=$(portside tokens create scripts)` (or POST /api/v1/tokens, and send it as 'Authorization: "
            "Bearer pst_…')"
        )


def check_may_run(who: Who, row: Job | Run) -> None:
    """Raises `ScriptNeedsToken` where a script would run for somebody who did not say who he is."""
    if row.kind == "script":
        require_token(who)


async def put_text(call: Call, script: object) -> Stored | None:
    """Bring the text that a body has into the store, before its transaction; nothing where it has none."""
    text = script.source if isinstance(script, ScriptBody) else None
    if isinstance(script, Mapping) and isinstance(script.get("source"), str):
        text = read_body({"source": script["source"]}, ScriptBody).source
    if text is None:
        return None

    async def pieces() -> AsyncIterator[bytes]:
        yield text.encode()

    stored = await call.context.store.put(pieces())
    await keep(call.context, stored)
    return stored


async def script_spec(
    session: Session, who: Who, body: ScriptSpecBody, text: Stored | None, former: RunSpec | None = None
) -> RunSpec:
    """The spec as it is kept. Raises `InvalidField`, `NotFound`."""
    spec, given = stored_script(body), body.script
    if given.file is not None:
        where = await uploaded_script(session, who.tenant_id, given.file)
    elif text is not None and given.source is not None:
        size_bytes = text.size_bytes
        where = {
            "kind": "source",
            "digest": str(text.digest),
            "size_bytes": size_bytes,
            "file": None,
            "name": TEXT_NAME,
        }
    else:
        where = _former(given, former)
    script = {**where, **spec["script"]}
    script["entry"] = script["entry"] or entry_of(script)
    return {**spec, "script": script}


async def changed_script(
    session: Session, who: Who, job: Job, patch: Mapping[str, Json], text: Stored | None
) -> RunSpec | None:
    """The job's spec with what the patch says of it; nothing where it says nothing. Raises `InvalidField`."""
    said = {name: value for name, value in patch.items() if name in ScriptSpecBody.model_fields}
    if not said:
        return None
    document = script_document(job.spec)
    told = said.get("script")
    if isinstance(told, Mapping) and (told.get("source") is not None or told.get("file") is not None):
        of_the_former = ("digest", "entry")  # another text has another entry, unless it says so
        kept = {name: value for name, value in _mapping(document["script"]).items() if name not in of_the_former}
        document["script"] = kept
    body = read_body(patched(document, said), ScriptSpecBody)
    return await script_spec(session, who, body, text, job.spec)


def refuse_members(kind: str, patch: Mapping[str, Json], known: Collection[str], others: Collection[str]) -> None:
    """Raises `InvalidField` for what jobs of another kind have."""
    foreign = [name for name in patch if name in others and name not in known]
    if foreign:
        detail = f"a {kind} has no '{foreign[0]}'"
        fields = [FieldProblem(f"/{name}", f"a {kind} has no '{name}'", "leave it out") for name in foreign]
        raise InvalidField(f"{detail}; leave it out", fields=fields)


def _mapping(given: Json) -> dict[str, Json]:
    return dict(given) if isinstance(given, Mapping) else {}


def _former(given: ScriptBody, former: RunSpec | None) -> dict[str, Any]:
    kept = {} if former is None else former["script"]
    if given.digest is None or given.digest != kept.get("digest"):
        detail = "no script of this job has this digest"
        hint = "give the source, or upload the file at /api/v1/files and name it"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/script/digest", detail, hint)])
    return {name: kept[name] for name in ("kind", "digest", "size_bytes", "file", "name")}
