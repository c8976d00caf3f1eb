"""What a batch goes by: what a request may say of it. Stored is the same, with every default filled in."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from api.schemas.base import Body, Name, at_most, one_of, told
from api.schemas.datasets import Hints
from api.schemas.environment import ENV_NAME, MOST_ENV
from api.schemas.quantities import Cpu, MemoryMb, ModelName, VersionName
from core.errors import FieldProblem, InvalidField, Json
from state.naming import DEFAULT, LONGEST_NAME, LONGEST_RUN_NAME, output_fault
from state.running import RunSpec

FORMATS: Final = ("csv", "jsonl", "parquet", "arrow")
MOST_COLUMNS, LONGEST_COLUMN, MOST_ARGS, LONGEST_ARG = 10_000, 1000, 200, 8192
COLUMN: Final[JsonDict] = {"type": "string", "minLength": 1, "maxLength": LONGEST_COLUMN}
MOST_CHUNK_ROWS, MOST_PARALLEL, MOST_LIMIT = 1_000_000, 64, 2**53
MOST_RETRIES, LONGEST_BACKOFF_S, LONGEST_RUN_S = 100, 86_400, 30 * 86_400
TEMPLATE: Final = (
    "`{job}`, `{run}` (its number) and `{date}` (the day, in UTC, of the tick that it is for, else of its beginning) "
    "have values."
)


def _output_name(given: str) -> str:
    if (fault := output_fault(given)) is not None:
        raise PydanticCustomError("output_name", "{fault}", {"fault": fault})
    return given


def _file_name(given: str) -> str:
    if given in (".", "..") or not given.isprintable() or "/" in given or "\\" in given:
        raise PydanticCustomError("file_name", "this is the name of a file, without a folder")
    return given


def _policy(given: object) -> object:
    """`"skip"` is `{"policy": "skip"}`."""
    return {"policy": given} if isinstance(given, str) else given


def _pass_through(given: object) -> list[str] | str:
    if given == "*":
        return "*"
    if isinstance(given, list) and len(given) <= MOST_COLUMNS and all(map(_is_column, given)):
        return list(dict.fromkeys(given))
    raise PydanticCustomError("pass_through", f"this is '*', or a list of at most {MOST_COLUMNS} names of columns")


def _feeds(given: object) -> dict[str, str | list[str]]:
    if not isinstance(given, dict) or len(given) > MOST_COLUMNS:
        raise PydanticCustomError("mapping", f"this is an object with at most {MOST_COLUMNS} members")
    for name, wanted in given.items():
        columns = wanted if isinstance(wanted, list) else [wanted]
        if not _is_column(name) or not 1 <= len(columns) <= MOST_COLUMNS or not all(map(_is_column, columns)):
            told = {"name": str(name)[:60]}
            raise PydanticCustomError("mapping", "'{name}' is to be fed by the name of a column, or by several", told)
    return dict(given)


def _feeds_patch(given: object) -> dict[str, str | list[str] | None]:
    """The same, where null takes a member away."""
    if not isinstance(given, dict):
        return {**_feeds(given)}
    return {**given, **_feeds({name: wanted for name, wanted in given.items() if wanted is not None})}


def _is_column(given: object) -> bool:
    return isinstance(given, str) and 1 <= len(given) <= LONGEST_COLUMN


Format = Annotated[str, Field(pattern=one_of(*FORMATS))]
Compression = Annotated[str, Field(pattern=one_of("gzip", "zstd"))]
PassThrough = Annotated[
    list[str] | str,
    PlainValidator(_pass_through),
    WithJsonSchema(
        {
            "anyOf": [{"type": "array", "items": COLUMN, "maxItems": MOST_COLUMNS}, {"type": "string", "enum": ["*"]}],
            "description": "Columns of the input that the output has, too; `*` is all.",
        }
    ),
]
FEEDS: Final = WithJsonSchema(
    {
        "type": "object",
        "maxProperties": MOST_COLUMNS,
        "additionalProperties": {
            "anyOf": [COLUMN, {"type": "array", "items": COLUMN, "minItems": 1, "maxItems": MOST_COLUMNS}]
        },
        "description": "A model's input, or the name of a place of one, and the column that feeds it, or several that "
        "fill a vector. An input that is not named is found by its name; a model's only vector also by position.",
    }
)
Feeds = Annotated[dict[str, str | list[str]], PlainValidator(_feeds), FEEDS]
FeedsPatch = Annotated[dict[str, str | list[str] | None], PlainValidator(_feeds_patch), FEEDS]
Args = Annotated[
    list[Annotated[str, Field(max_length=LONGEST_ARG)]],
    at_most(MOST_ARGS, f"at most {MOST_ARGS} arguments"),
    told(maxItems=MOST_ARGS),
]
ENV_NAMES: Final = told(propertyNames={"pattern": f"^{ENV_NAME.pattern}$", "maxLength": 200}, maxProperties=MOST_ENV)
FEW: Final = at_most(MOST_ENV, f"at most {MOST_ENV} variables with 256 KiB of values together")
Env = Annotated[Annotated[dict[str, str], ENV_NAMES], FEW]
EnvChanges = Annotated[Annotated[dict[str, str | None], ENV_NAMES], FEW]
Part = Annotated[str, Field(min_length=1, max_length=200, description="Of a version that has several models.")]
OutputName = Annotated[
    str, AfterValidator(_output_name), Field(min_length=1, max_length=LONGEST_NAME, description=TEMPLATE)
]
RunName = Annotated[str, Field(min_length=1, max_length=LONGEST_RUN_NAME, description=TEMPLATE)]
FileName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]
ChunkRows = Annotated[int, Field(ge=1, le=MOST_CHUNK_ROWS)]
Parallelism = Annotated[int, Field(ge=1, le=MOST_PARALLEL, description="Chunks that are scored at the same time.")]
TimeoutS = Annotated[
    int,
    Field(
        ge=1,
        le=LONGEST_RUN_S,
        description="How long its processes may work, over all attempts. Pauses and waiting do not count: for a turn, "
        "for another attempt, for a platform that is off.",
    ),
]
Policy = Annotated[str, Field(pattern=one_of("skip", "fail", "limit"))]
Limit = Annotated[int, Field(ge=1, le=MOST_LIMIT)]
Count = Annotated[int, Field(ge=0, le=MOST_RETRIES)]
BackoffS = Annotated[int, Field(ge=0, le=LONGEST_BACKOFF_S)]


class InputBody(Hints):
    """What is read: one of our datasets, or a file at a `uri`, of which each run makes a dataset of its own first.

    What is said of the format is for a `uri`; what is left out is found.
    """

    dataset: Name | None = None
    uri: Annotated[
        str | None, Field(min_length=1, max_length=2000, description="As the `source_uri` of a dataset.")
    ] = None


class OutputBody(Body):
    """The dataset that a run makes, by default in the format of its input.

    A name that is taken gets the run's number behind it; with `replace` the dataset that has it is given other rows.
    """

    name: OutputName = DEFAULT
    format: Format | None = None
    compression: Compression | None = None
    replace: bool = False


class OutputPatch(Body):
    """Changes to that; null gives the default back."""

    name: OutputName | None = None
    format: Format | None = None
    compression: Compression | None = None
    replace: bool | None = None


class OnErrorBody(Body):
    """What becomes of rows that cannot be scored: `skip` them, `fail` with the first, or with one more than `limit`.

    Rows that are skipped stand in a dataset of their own, each with its line, column and reason.
    """

    policy: Policy = "skip"
    limit: Limit | None = None


class RunResourcesBody(Body):
    """What each run may use; without `cpu` one core, without `memory` no limit."""

    cpu: Cpu = None
    memory: MemoryMb = None


class RetriesBody(Body):
    """How often a failed run goes on from what it has, and after how many seconds; the pause doubles each time."""

    count: Count = 0
    backoff_s: BackoffS = 30


class RetriesPatch(Body):
    """Changes to that; null gives the default back."""

    count: Count | None = None
    backoff_s: BackoffS | None = None


OnError = Annotated[OnErrorBody, BeforeValidator(_policy)]


class BatchSpecBody(Body):
    """Everything that a run of a batch goes by, but its environment."""

    model: ModelName
    version: VersionName = "latest"
    part: Part | None = None
    input: InputBody
    output: OutputBody | None = None
    mapping: Feeds | None = None
    pass_through: PassThrough | None = None
    on_error: OnError | None = None
    chunk_rows: ChunkRows | None = None
    parallelism: Parallelism = 1
    resources: RunResourcesBody | None = None
    args: Args | None = None
    file_name: FileName | None = None
    run_name: RunName | None = None
    retries: RetriesBody | None = None
    timeout_s: TimeoutS | None = None


def stored_spec(body: BatchSpecBody) -> RunSpec:
    """The spec as it is kept. Raises `InvalidField` for what contradicts itself."""
    on_error, output = body.on_error or OnErrorBody(), body.output or OutputBody()
    resources, retries = body.resources or RunResourcesBody(), body.retries or RetriesBody()
    _check_input(body.input)
    _check_on_error(on_error)
    plain = ("model", "version", "part", "mapping", "chunk_rows", "parallelism", "file_name", "run_name", "timeout_s")
    return {
        **{name: getattr(body, name) for name in plain},
        "input": _stored_input(body.input),
        "output": output.model_dump(),
        "pass_through": body.pass_through or [],
        "on_error": on_error.model_dump(),
        "resources": {"cpu": resources.cpu, "memory_mb": resources.memory},
        "args": body.args or [],
        "retries": retries.model_dump(),
    }


def spec_document(stored: RunSpec) -> dict[str, Json]:
    """The spec as it is shown: a body that says the same."""
    resources = stored["resources"]
    memory_mb = resources.get("memory_mb")
    memory = None if memory_mb is None else f"{memory_mb}Mi"
    return {**stored, "resources": {"cpu": resources.get("cpu"), "memory": memory}}


def patched(document: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """The spec's document with a merge patch (RFC 7396); what is taken away has its default again.

    An input or a policy is another one as a whole as soon as the patch names it: it inherits nothing.
    """
    anew = {"input": ("dataset", "uri"), "on_error": ("policy",)}
    kept: dict[str, Json] = {}
    for name, value in document.items():
        given = patch.get(name)
        starts_anew = isinstance(given, Mapping) and any(given.get(each) is not None for each in anew.get(name, ()))
        if not starts_anew:
            kept[name] = value
    merged = _merged(kept, patch)
    return dict(merged) if isinstance(merged, Mapping) else {}


def _merged(target: Json, patch: Json) -> Json:
    if not isinstance(patch, Mapping):
        return patch
    found: dict[str, Json] = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found


def _stored_input(given: InputBody) -> dict[str, Any]:
    return {"dataset": given.dataset} if given.uri is None else {"uri": given.uri, **given.hints()}


def _check_input(given: InputBody) -> None:
    if (given.dataset is None) == (given.uri is None):
        detail = "an input is a dataset or a uri, one of both"
        hint = 'write {"dataset": "flowers"} or {"uri": "https://…"}'
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/input", detail, hint)])
    said = given.model_dump(exclude_none=True, exclude={"dataset", "uri"})
    if given.dataset is not None and said:
        detail = "how a dataset is read was found, or said, when it was made"
        problems = [FieldProblem(f"/input/{name}", detail, "leave it out") for name in said]
        raise InvalidField(f"{detail}; leave out {', '.join(said)}", fields=problems)


def _check_on_error(given: OnErrorBody) -> None:
    if (given.policy == "limit") != (given.limit is not None):
        has = "needs a limit" if given.policy == "limit" else f"has no limit with the policy '{given.policy}'"
        hint = 'write {"policy": "limit", "limit": 100}'
        raise InvalidField(f"on_error {has}; {hint}", fields=[FieldProblem("/on_error/limit", f"this {has}", hint)])
