"""Small data files and what is read of them."""

from collections.abc import Sequence
from pathlib import Path

from serving.data.formats import Column, Format, Position
from serving.data.open import open_source
from serving.data.source import Chunk

NUMBERS = (Column("a", "int64"), Column("b", "float64"), Column("c", "string"))


def written(folder: Path, content: bytes | str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def chunks(
    files: Path | Sequence[Path],
    format: Format,
    chunk_rows: int = 1000,
    start: Position | None = None,
    columns: Sequence[str] | None = None,
) -> list[Chunk]:
    several = [files] if isinstance(files, Path) else files
    source = open_source(several, format, chunk_rows=chunk_rows, start=start, columns=columns)
    return [source.read(piece) for piece in source.pieces()]


def rows(found: Sequence[Chunk]) -> list[dict[str, object]]:
    return [row for chunk in found for row in chunk.table.to_pylist()]
