"""What a JSON body says of where a dataset's data are: at a URL, in an upload, in another dataset."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from api.schemas.base import URL, Body, Name, shown_as, told
from api.schemas.datasets import DatasetFields

Key = Annotated[str, Field(min_length=1, max_length=2000)]


def _refuse_file(given: object) -> None:
    raise PydanticCustomError(
        "either", "a dataset has either a file, in a form or as the body, or a source, in a JSON body; send one"
    )


Elsewhere = SkipJsonSchema[Annotated[None, BeforeValidator(_refuse_file)]]


class S3Credentials(Body):
    """The keys of an S3 account. They are sealed, used for this source only and never shown again."""

    model_config = shown_as({"access_key": "AKIA…", "secret_key": "…", "region": "eu-central-1"})

    access_key: Key
    secret_key: Key
    session_token: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    endpoint: Annotated[
        str | None,
        Field(max_length=500, description="`https://HOST:PORT`; Amazon's for the region without it."),
        told(pattern=URL),
    ] = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "us-east-1"


class DatasetFromSource(DatasetFields):
    """A dataset whose data are somewhere already. Of the kind `files` it may also begin without any."""

    model_config = shown_as(
        {"name": "customers", "source_uri": "https://data.example.com/customers.csv.gz"},
        {"name": "customers", "source_uri": "s3://lake/customers/2026-05.parquet", "reference": True},
        {"name": "customers", "upload": "upl_01kqz1w3v9k2m4n6p8r0s2t4v6"},
        {"name": "pictures", "kind": "files"},
    )

    source_uri: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=2000,
            description="`https://…`, `http://…`, `s3://BUCKET/KEY`, or `file:///…` below a folder that the operator "
            "has opened (`PORTSIDE_FILE_ROOTS`).",
        ),
    ] = None
    reference: Annotated[bool, Field(description="Read the source whenever the data are used, and never copy it.")] = (
        False
    )
    credentials: S3Credentials | None = None
    dataset: Annotated[
        Name | None, Field(description="Copy this dataset, without moving a byte; hints describe it anew.")
    ] = None
    upload: Annotated[str | None, Field(max_length=40, description="An upload in parts, all of which are there.")] = (
        None
    )
    file: Elsewhere = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in ("source_uri", "dataset", "upload") if getattr(self, name) is not None]
        if len(given) > 1 or (not given and self.kind == "table"):
            raise PydanticCustomError("source", "say where the data are: one of source_uri, upload and dataset")
        if self.source_uri is None and (self.reference or self.credentials is not None):
            raise PydanticCustomError("source", "reference and credentials belong to a source_uri; leave them out")
        if self.kind == "files" and self.reference:
            raise PydanticCustomError("source", "a dataset of files is copied; leave reference out")
        return self
