"""Generated scripts: what a request for one may say before there is a job."""

from typing import Annotated, Final

from pydantic import Field

from api.schemas.base import Body, Name, one_of, shown_as
from api.schemas.batch_specs import (
    Args,
    ChunkRows,
    Feeds,
    FileName,
    InputBody,
    OnError,
    OutputBody,
    Part,
    PassThrough,
)

AGAINST: Final = (
    "`file` scores with the model's file on the machine of the script, `api` with a service of the platform; without "
    "it, `file` where that is possible."
)
Against = Annotated[str, Field(pattern=one_of("api", "file"), description=AGAINST)]


class ScriptCreate(Body):
    """A batch over this version as a script: what is left out is as in a job. Without an `input` its file is an
    argument of the script, a CSV file whose columns are called as the model's inputs."""

    model_config = shown_as({"input": {"dataset": "flowers"}, "pass_through": ["id"]}, {"against": "api"})

    against: Against | None = None
    service: Name | None = None
    part: Part | None = None
    input: InputBody | None = None
    output: OutputBody | None = None
    mapping: Feeds | None = None
    pass_through: PassThrough | None = None
    on_error: OnError | None = None
    chunk_rows: ChunkRows | None = None
    args: Args | None = None
    file_name: FileName | None = None
