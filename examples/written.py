"""Writes what stands beside a model file: the body of a prediction and the answers to expect."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent


def records(rows: pd.DataFrame) -> list[dict[str, object]]:
    """One record per row, its values by column."""
    return [{str(column): value for column, value in row.items()} for row in rows.to_dict("records")]


def write_case(model: Path, inputs: Sequence[Mapping[str, object]], outputs: Sequence[Mapping[str, object]]) -> None:
    """Write `MODEL.input.json` and `MODEL.expected.json`, one record a line."""
    for kind, key, records in (("input", "inputs", inputs), ("expected", "outputs", outputs)):
        lines = ",\n  ".join(json.dumps(record) for record in records)
        model.with_name(f"{model.name}.{kind}.json").write_text(f'{{"{key}": [\n  {lines}\n]}}\n', encoding="utf-8")


def write_table(name: str, rows: pd.DataFrame) -> None:
    """Write the same records as `NAME.csv`."""
    rows.to_csv(HERE / f"{name}.csv", index=False, lineterminator="\n")
