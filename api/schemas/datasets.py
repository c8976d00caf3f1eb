"""Datasets: what a request may say, and how a row is shown."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from api.links import Links
from api.schemas.base import Answer, Body, Description, DisplayName, Instant, Name, Tags, at_most, shown_as, told
from api.schemas.resource import about
from api.schemas.versions import read_object, read_tags
from api.validation import rejection
from core.errors import Json
from state.cataloguing import Description as Said
from state.datatables import Dataset

HINTS: Final = ("format", "compression", "delimiter", "quote", "encoding", "has_header", "null_values")
SHOWN_COLUMNS: Final = 100
DELIMITERS: Final[Mapping[str, str]] = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def _read_delimiter(given: object) -> object:
    return DELIMITERS.get(given, given) if isinstance(given, str) else given


def _read_flag(given: object) -> object:
    """A form's or a query's word for yes or no."""
    return {"true": True, "false": False}.get(given.lower(), given) if isinstance(given, str) else given


def _read_list(given: object) -> object:
    if isinstance(given, str):
        return read_object(given) if given.lstrip().startswith("[") else given.split(",")
    return given


def _one_character(given: str) -> str:
    if len(given) != 1 or not (given.isascii() and (given.isprintable() or given == "\t")):
        raise PydanticCustomError("character", "write one ASCII character, such as ',' or ';', or 'tab'")
    return given


Character = Annotated[str, BeforeValidator(_read_delimiter), AfterValidator(_one_character)]
Format = Annotated[
    Literal["csv", "tsv", "jsonl", "parquet", "arrow"], Field(description="Found by itself where it is left out.")
]


class Hints(Body):
    """What its owner says of a file's format; what he does not say is found."""

    format: Format | None = None
    compression: Annotated[Literal["gzip", "zstd"] | None, Field(description="Of CSV, JSON lines and Arrow.")] = None
    delimiter: Annotated[Character | None, Field(description="Of CSV: one character, or `tab`.")] = None
    quote: Annotated[Character | None, Field(description="Of CSV: the character around a cell.")] = None
    encoding: Annotated[
        str | None, Field(max_length=40, pattern=r"^[A-Za-z0-9._-]+$", description="`utf-8`, `utf-16`, `latin-1`, …")
    ] = None
    has_header: Annotated[
        Annotated[bool, BeforeValidator(_read_flag)] | None, Field(description="Of CSV: its first line names columns.")
    ] = None
    null_values: Annotated[
        Annotated[
            list[Annotated[str, told(maxLength=100)]], BeforeValidator(_read_list), at_most(100, "at most 100 texts")
        ]
        | None,
        Field(description="Of CSV: cells that say one of these say nothing."),
    ] = None

    def hints(self) -> dict[str, object]:
        """What was said, as `serving data describe` reads it."""
        said = {name: value for name in HINTS if (value := getattr(self, name)) is not None}
        return {**said, "format": "csv", "delimiter": "\t"} if said.get("format") == "tsv" else said


class DatasetFields(Hints):
    """The text parts of an upload."""

    name: Name
    kind: Literal["table", "files"] = "table"
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Annotated[Tags | None, BeforeValidator(read_tags)] = None

    @model_validator(mode="after")
    def _hints_are_for_tables(self) -> Self:
        if self.kind == "files" and self.hints():
            raise PydanticCustomError("source", "hints are for tables; a dataset of files has no format")
        return self

    def about(self) -> Said:
        """What is said of it beside its name."""
        return Said(self.display_name, self.description, self.tags or ())


class DatasetPatch(Body):
    """A merge patch (RFC 7396); null removes."""

    model_config = shown_as({"description": "One row a customer, as of May.", "tags": ["monthly"]})

    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None


class ColumnShown(Answer):
    """A column. What is not told of this type, or was not counted, is null."""

    name: str
    type: str = Field(description="`int64 float64 bool string timestamp date binary list struct`, or Arrow's own word.")
    arrow_type: str | None
    nullable: bool
    nulls: int | None
    invalid: int | None = Field(description="Cells that are not of the type: a batch takes their rows for bad.")
    min: Any
    max: Any
    mean: float | None
    distinct: int | None = Field(description="Null beyond 1,000.")
    true_count: int | None
    examples: list[Any]


class ColumnList(Answer):
    """All columns of a dataset with what was counted in them."""

    items: list[ColumnShown]
    rows: int | None
    rows_are_estimated: bool


class PreviewShown(Answer):
    """The first rows, their values in the order of `columns`."""

    columns: list[Any]
    rows: list[list[Any]]
    total_rows: int | None
    rows_are_estimated: bool


class DatasetShown(Answer):
    """A dataset; what is found in its data is null until it is ready, and its bytes are told once they are stored."""

    id: str
    name: str
    display_name: str | None
    description: str | None
    tags: list[str]
    status: Literal["creating", "ready", "failed", "deleting"]
    reason: str | None
    message: str | None
    since: Instant
    generation: int
    etag: str
    created_at: Instant
    updated_at: Instant
    kind: Literal["table", "files"]
    url: str
    urls: dict[str, str]
    source_uri: str | None
    reference: bool = Field(description="Read at its source whenever it is used, never copied.")
    source_etag: str | None = Field(description="What a reference is pinned to.")
    run: str | None = Field(description="The id of the run that wrote it.")
    role: str | None = Field(description="Of a run's: `output`, `bad_rows`, or `input`, a copy of its URI.")
    filename: str | None
    digest: str | None = Field(description="Of its file, where it is one.")
    size_bytes: int | None
    format: str | None
    layout: dict[str, Any] | None = Field(description="How it is read: dialect, encoding, compression.")
    rows: int | None
    rows_are_estimated: bool
    column_count: int | None
    columns: list[ColumnShown] | None = Field(
        description=f"The first {SHOWN_COLUMNS} of them, and null in a list; `urls.columns` tells all."
    )
    warnings: list[Any]
    files: int | None = Field(description="How many, of the kind `files`.")


class DatasetPage(Answer):
    """One page of datasets."""

    items: list[DatasetShown]
    next_page_token: str | None
    total: int | None = None


FORM_FIELDS = frozenset(DatasetFields.model_fields)


def read_dataset_fields(given: Mapping[str, str]) -> DatasetFields:
    """A form's text parts or a query, what is empty counted as absent. Raises `UnknownField`, `InvalidField`."""
    try:
        return DatasetFields.model_validate({name: text for name, text in given.items() if text != ""})
    except ValidationError as error:
        raise rejection(error.errors(include_url=False), DatasetFields) from error


def dataset_document(row: Dataset, links: Links) -> dict[str, Json]:
    """The dataset object; one of a list, which is read without its columns, tells only how many there are."""
    url = links.to(f"/api/v1/datasets/{row.name}")
    below = ("files",) if row.kind == "files" else ("preview", "columns")
    columns: Sequence[Mapping[str, Json]] | None = getattr(row, "columns", None)
    return {
        "id": row.id,
        "name": row.name,
        **about(row),
        "kind": row.kind,
        "url": url,
        "urls": {name: f"{url}/{name}" for name in ("content", *below, "history")},
        "source_uri": row.source_uri,
        "reference": row.is_reference,
        "source_etag": row.source_etag,
        "run": row.run_id,
        "role": row.role,
        "filename": row.filename,
        "digest": row.digest,
        "size_bytes": row.size_bytes,
        "format": row.format,
        "layout": row.layout,
        "rows": row.rows,
        "rows_are_estimated": row.rows_are_estimated,
        "column_count": row.column_count,
        "columns": None if columns is None else [column_document(each) for each in columns[:SHOWN_COLUMNS]],
        "warnings": row.warnings or [],
        "files": row.files,
    }


def column_document(column: Mapping[str, Json]) -> dict[str, Json]:
    """One column."""
    shown = {name: column.get(name) for name in ColumnShown.model_fields}
    return {**shown, "nullable": column.get("nullable", True), "examples": column.get("examples") or []}
