"""What a script goes by: what a request may say of it. Stored is the same, with every default filled in, and its text
as a blob."""

import re
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from api.schemas.base import Body, Description, Name, at_most
from api.schemas.batch_specs import Args, OutputName, RetriesBody, RunName, RunResourcesBody, TimeoutS
from core.errors import FieldProblem, InvalidField, Json
from state.running import RunSpec

LONGEST_SOURCE_BYTES: Final = 256 * 1024
MOST_REQUIREMENTS: Final = 2000
MOST_NAMED, MOST_OUTPUTS, LONGEST_PATH = 50, 50, 500
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
# A name with extras, versions and a marker, or a wheel behind https: nothing that names a file or an option of uv.
REQUIREMENT: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[A-Za-z0-9._, -]*\])?\s*"
    r"(@\s*https://[^\s;]+|\(?[<>=!~][^;@#]*)?\s*(;[^#]*)?"
)
HASHES: Final = re.compile(r"(\s+--hash=sha(256|384|512):[0-9a-f]{64,128})+\s*$")
COMMENT: Final = re.compile(r"(^|\s)#.*$")
REFERENCE: Final = re.compile(r"[a-z][a-z0-9-]{0,47}(@[A-Za-z0-9._-]{1,64}|/([1-9]\d{0,14}|latest))?")
KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")


def _requirements(given: object) -> object:
    """A list of lines is the text of a file; each line is checked."""
    lines: list[Any] = given if isinstance(given, list) else str(given or "").split("\n")
    if given is not None and not isinstance(given, str | list):
        raise PydanticCustomError("requirements", "this is a list of requirements, or the text of a file of them")
    if len(lines) > MOST_REQUIREMENTS:
        raise PydanticCustomError("requirements", "at most {most} lines", {"most": MOST_REQUIREMENTS})
    if not all(isinstance(line, str) and "\x00" not in line and len(line) <= 2000 for line in lines):
        raise PydanticCustomError("requirements", "a requirement is a line of text, at most 2000 characters long")
    text = "\n".join(str(line).rstrip("\r") for line in lines)
    for line in re.sub(r"\\\n", " ", text).split("\n"):
        plain = HASHES.sub("", COMMENT.sub("", line).rstrip()).strip()
        if plain and REQUIREMENT.fullmatch(plain) is None:
            raise PydanticCustomError(
                "requirement",
                "'{line}' is no requirement that is taken here: write name==version, with --hash=sha256:… behind it or "
                "not; options, files and repositories are not taken",
                {"line": plain[:100]},
            )
    return text or None


def _place(given: str) -> str:
    """A path below a folder, in one spelling."""
    path = PurePosixPath(given)
    is_plain = given == str(path) and not path.is_absolute() and ".." not in path.parts and given != "."
    if not is_plain or "\\" in given or not given.isprintable():
        raise PydanticCustomError("path", "this is the path of a file below the folder, as deep/model.onnx")
    return given


def _source(given: str) -> str:
    if len(given.encode()) > LONGEST_SOURCE_BYTES:
        raise PydanticCustomError("source", "a text has at most 256 KiB; upload it as a file, and name that")
    return given


def _reference(given: str) -> str:
    if REFERENCE.fullmatch(given) is None:
        raise PydanticCustomError("reference", "this is a model and perhaps a version of it: iris, iris/3 or iris@prod")
    return given


def _keys(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if KEY.fullmatch(name) is None:
            raise PydanticCustomError(
                "key", "'{name}' is no name for a script: letters, digits, '-' and '_'", {"name": name[:60]}
            )
    return given


Requirements = Annotated[
    str | None,
    BeforeValidator(_requirements, json_schema_input_type=str | list[str] | None),
    Field(description="Names with versions, a list or the text of a requirements file; with hashes all have them."),
]
Entry = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_place)]
Source = Annotated[str, Field(min_length=1, max_length=LONGEST_SOURCE_BYTES), AfterValidator(_source)]
FEW_NAMES: Final = at_most(MOST_NAMED, f"at most {MOST_NAMED} names")
Reference = Annotated[str, Field(max_length=120), AfterValidator(_reference)]


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", description="As shown: what the job has already.")]


class ScriptBody(Body):
    """What is run: a text, or a file that was uploaded at `/api/v1/files`, a `.py` or an archive with an `entry`."""

    source: Source | None = None
    file: Annotated[str, Field(pattern=r"^file_[0-9a-zA-Z]{1,40}$")] | None = None
    digest: Digest | None = None
    entry: Entry | None = None
    requirements: Requirements = None
    python: Annotated[str, Field(max_length=10, description=f"Must be {PYTHON}, where it is said.")] | None = None


class InputsBody(Body):
    """What the script reads, by names of its own: datasets, and versions of models as `iris`, `iris/3`, `iris@prod`."""

    datasets: Annotated[dict[str, Name], FEW_NAMES, AfterValidator(_keys)] | None = None
    models: Annotated[dict[str, Reference], FEW_NAMES, AfterValidator(_keys)] | None = None


class RegisterBody(Body):
    """A file becomes a version of this model, which is made where there is none; then the alias means it."""

    model: Name
    description: Description | None = None
    alias: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$")] | None = None


class OutputRuleBody(Body):
    """What becomes of a file that the script leaves: a version of a model, or a dataset."""

    register_: Annotated[RegisterBody | None, Field(alias="register")] = None
    dataset: OutputName | None = None


class ScriptSpecBody(Body):
    """Everything that a run of a script goes by, but its environment."""

    script: ScriptBody
    inputs: InputsBody | None = None
    outputs: Annotated[dict[str, OutputRuleBody], at_most(MOST_OUTPUTS, f"at most {MOST_OUTPUTS} files")] | None = None
    resources: RunResourcesBody | None = None
    args: Args | None = None
    run_name: RunName | None = None
    retries: RetriesBody | None = None
    timeout_s: TimeoutS | None = None


def stored_script(body: ScriptSpecBody) -> RunSpec:
    """The spec as it is kept, but for where its text is. Raises `InvalidField` for what contradicts itself."""
    script, inputs = body.script, body.inputs or InputsBody()
    given = [name for name in ("source", "file", "digest") if getattr(script, name) is not None]
    if len(given) != 1:
        detail, hint = "a script is a source or a file, one of both", 'write {"source": "print(1)"}'
        raise _refusal("/script", detail, hint)
    if script.python is not None and script.python != PYTHON:
        raise _refusal("/script/python", f"scripts run on Python {PYTHON} here, not {script.python}", "leave it out")
    _check_outputs(body.outputs or {})
    resources, retries = body.resources or RunResourcesBody(), body.retries or RetriesBody()
    return {
        "script": {"entry": script.entry, "requirements": script.requirements, "python": script.python},
        "inputs": {"datasets": inputs.datasets or {}, "models": inputs.models or {}},
        "outputs": {
            path: rule.model_dump(exclude_none=True, by_alias=True) for path, rule in (body.outputs or {}).items()
        },
        "resources": {"cpu": resources.cpu, "memory_mb": resources.memory},
        "args": body.args or [],
        "run_name": body.run_name,
        "retries": retries.model_dump(),
        "timeout_s": body.timeout_s,
    }


def script_document(stored: RunSpec) -> dict[str, Json]:
    """The spec as it is shown: a body that says the same, with the digest of the text in its place."""
    resources, script = stored["resources"], stored["script"]
    memory_mb = resources.get("memory_mb")
    memory = None if memory_mb is None else f"{memory_mb}Mi"
    shown = {name: script.get(name) for name in ("digest", "entry", "requirements", "python")}
    return {**stored, "script": shown, "resources": {"cpu": resources.get("cpu"), "memory": memory}}


def entry_of(script: Mapping[str, object]) -> str:
    """The file that is started, where nothing is said."""
    return str(script["name"]) if script["kind"] == "file" else "main.py"


def _check_outputs(outputs: Mapping[str, OutputRuleBody]) -> None:
    for path, rule in outputs.items():
        pointer = "/outputs/" + path.replace("~", "~0").replace("/", "~1")[:100]
        try:
            _place(path)
        except PydanticCustomError as error:
            raise _refusal(pointer, str(error), "name a file as it lies in PORTSIDE_OUTPUTS") from error
        if len(path) > LONGEST_PATH:
            raise _refusal(pointer, f"a path has at most {LONGEST_PATH} characters", "take a shorter one")
        if (rule.register_ is None) == (rule.dataset is None):
            raise _refusal(pointer, "a file is registered, or becomes a dataset, one of both", 'write {"dataset": "…"}')


def _refusal(pointer: str, detail: str, hint: str) -> InvalidField:
    return InvalidField(f"'{pointer}': {detail}; {hint}", fields=[FieldProblem(pointer, detail, hint)])
