"""The door to the formats: each has a module of its own, and pyarrow's readers are imported for those that are used."""

from collections.abc import Sequence
from pathlib import Path

from serving.data.formats import Format, Position
from serving.data.source import Reading, Source


def open_source(
    files: Sequence[Path],
    format: Format,
    *,
    chunk_rows: int,
    start: Position | None = None,
    columns: Sequence[str] | None = None,
) -> Source:
    """Files of one format and the same columns as a source; only `columns` are read. Raises `DatasetInvalid`."""
    reading = Reading(files, format, chunk_rows, start or Position(), columns)
    if format.format == "csv":
        from serving.data.csv_source import CsvSource

        return CsvSource(reading)
    if format.format == "parquet":
        from serving.data.parquet_source import ParquetSource

        return ParquetSource(reading)
    if format.format == "arrow":
        from serving.data.arrow_source import ArrowSource

        return ArrowSource(reading)
    from serving.data.jsonl_source import JsonLinesSource

    return JsonLinesSource(reading)
