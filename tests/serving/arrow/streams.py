"""Arrow streams for tests, and their way through one prediction."""

import io

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from serving.engines.base import Columns
from serving.media import ARROW
from serving.problems import Problem
from serving.score import Scorer
from tests.serving.bodies import refused, send
from tests.serving.models import PythonModel


def stream(table: pa.Table, compression: str | None = None, rows_each: int | None = None) -> bytes:
    out = io.BytesIO()
    with ipc.new_stream(out, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, rows_each)
    return out.getvalue()


def ask(scorer: Scorer, table: pa.Table, *, keeps_going: bool = False) -> pa.Table:
    """The table that answers this one."""
    answer = send(scorer, stream(table), ARROW, keeps_going=keeps_going)
    assert answer.content_type == ARROW
    return ipc.open_stream(answer.body).read_all()


def refusal(scorer: Scorer, table: pa.Table | bytes) -> Problem:
    return refused(scorer, table if isinstance(table, bytes) else stream(table), ARROW)


class Keeping(PythonModel):
    """A model that answers what it is asked, and keeps it."""

    def __init__(self) -> None:
        super().__init__(lambda columns: columns)

    @property
    def last(self) -> Columns:
        return self.asked[-1]


def is_same(one: object, other: object) -> bool:
    """Whether two arrays are the same bit for bit, in the same datatype."""
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
