"""A run that goes on behind any chunk writes the very bytes, whatever columns its input has: what is passed through
has dictionaries, lists and structures whose arrays depend on where the reading began."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from tests.serving.batch.runs import made, ready, table_plan
from tests.serving.engines.onnx_models import classifier, saved

ROWS, CHUNK_ROWS, BATCH_ROWS = 1000, 256, 300  # chunks begin within batches


def columns() -> pa.Table:
    """Numbers for the model, and one column of each kind that pyarrow encodes in its own way."""
    places = range(ROWS)
    words = [f"word-{at % (5 + at // 50)}" for at in places]  # later rows have words that the first ones have not
    return pa.table(
        {
            "a": pa.array(map(float, places)),
            "b": pa.array([at / 7 for at in places]),
            "category": pa.array(words).dictionary_encode(),
            "text": pa.array([None if at % 11 == 0 else word for at, word in enumerate(words)]),
            "list": pa.array([[at, at + 1] if at % 5 else None for at in places]),
            "words": pa.array([words[at : at + 2] for at in places]),
            "structure": pa.array([{"x": at, "y": words[at]} if at % 3 else None for at in places]),
            "date": pa.array([at if at % 7 else None for at in places], pa.date32()),
            "decimal": pa.array(places, pa.decimal128(12, 3)),
        }
    )


def of_batches(file: Path) -> None:
    """An Arrow stream whose batches have dictionaries of their own."""
    table = columns()
    with ipc.new_stream(file, table.schema) as writer:
        for at in range(0, ROWS, BATCH_ROWS):
            part = table.slice(at, BATCH_ROWS)
            place = part.schema.get_field_index("category")
            own = part.column(place).cast(pa.string()).combine_chunks().dictionary_encode()
            writer.write_table(part.set_column(place, "category", own))


@pytest.mark.parametrize("output", ["parquet", "arrow"])
@pytest.mark.parametrize("read", ["parquet", "arrow"])
def test_a_run_over_columns_of_any_kind_that_goes_on_anywhere_writes_the_very_bytes(
    tmp_path: Path, read: str, output: str
) -> None:
    file, linear = tmp_path / "rows", saved(classifier(zipped=False), tmp_path)
    if read == "parquet":
        parquet.write_table(columns(), file, row_group_size=BATCH_ROWS)
    else:
        of_batches(file)
    plan = table_plan(file, {"format": read}, chunk_rows=CHUNK_ROWS, pass_through="*", mapping={"x": ["a", "b"]})
    plan |= {"output": {"format": output}}
    whole = made(tmp_path / "out", linear, plan)
    _, run = ready(tmp_path / "out", linear, plan)
    positions = [piece.next for piece in run.source.pieces()]
    assert len(positions) == len(whole.parts) == 4
    for position in positions:
        resume = {"position": msgspec.to_builtins(position), "chunks": position.chunk}
        rest = made(tmp_path / "out", linear, plan | {"resume": resume})
        assert rest.parts == whole.parts[position.chunk :]
