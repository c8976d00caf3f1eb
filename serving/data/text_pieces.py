"""Texts cut into pieces of whole rows, file after file: what CSV and JSON lines have in common."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from serving.data.cutting import Cut, Dialect
from serving.data.formats import DatasetInvalid, Position
from serving.data.source import Piece, Reading
from serving.data.streams import MIB, Text

LONGEST_ROW_BYTES: Final = 64 * MIB
LARGEST_BLOCK_BYTES: Final = MIB
SMALLEST_BLOCK_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class _Growing:
    """A piece that is being cut."""

    start: Position
    rows: int = 0
    size_bytes: int = 0
    lines: int = 0
    has_long_rows: bool = False
    parts: list[bytes] = field(default_factory=list)

    def add(self, block: bytes, cut: Cut) -> None:
        """The rows that a block begins with."""
        if cut.end:
            self.parts.append(block[: cut.end])
            self.rows += cut.rows
            self.size_bytes += cut.end
            self.lines += cut.lines
            self.has_long_rows |= cut.has_long_rows

    def done(self) -> Piece:
        begin = self.start
        following = Position(
            begin.chunk + 1, begin.row + self.rows, begin.file, begin.offset + self.size_bytes, begin.line + self.lines
        )
        data = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return Piece(begin.chunk, begin.row, self.rows, begin.line, following, data, self.has_long_rows)


class TextPieces:
    """Pieces of the texts of a reading; `has_header` where the first line of the first file is none of its rows."""

    def __init__(self, reading: Reading, dialect: Dialect, *, has_header: bool) -> None:
        self._reading, self._dialect, self._has_header = reading, dialect, has_header
        self._block_bytes = LARGEST_BLOCK_BYTES
        self.read_bytes = 0  # of the current file as it lies there

    def header(self) -> bytes:
        """The first row of the first file, with its line end; nothing where that has none. Raises `DatasetInvalid`."""
        with closing(Text(self._reading.files[0], self._reading.format)) as text:
            return self._first_row(text)[0]

    def __iter__(self) -> Iterator[Piece]:
        """All pieces from the start on."""
        position = self._reading.start
        for number in range(position.file, len(self._reading.files)):
            if number != position.file:
                position = Position(position.chunk, position.row, number)
            for piece in self._pieces_of_file(position):
                position = piece.next
                yield piece

    def _pieces_of_file(self, position: Position) -> Iterator[Piece]:
        path, format = self._reading.files[position.file], self._reading.format
        with closing(Text(path, format, position.offset)) as text:
            ahead = b""
            if position.offset == 0 and self._has_header:
                header, ahead = self._first_row(text)
                if position.file and header.strip() != self.header().strip():
                    ahead = header + ahead
                    header = b""
                lines = header.count(b"\n") + header.count(b"\r") - header.count(b"\r\n")
                offset = text.offset + len(header)
                position = Position(position.chunk, position.row, position.file, offset, position.line + lines)
            elif position.offset == 0:
                position = Position(position.chunk, position.row, position.file, text.offset, position.line)
            yield from self._pieces_of_text(text, ahead, position)

    def _pieces_of_text(self, text: Text, ahead: bytes, position: Position) -> Iterator[Piece]:
        growing, wanted = _Growing(position), self._reading.chunk_rows
        block, is_last = ahead, False
        while True:
            if block:
                cut = self._dialect.cut(block, wanted - growing.rows, is_last=is_last)
                growing.add(block, cut)
                block = block[cut.end :]
            if growing.rows == wanted or (is_last and growing.rows):
                piece = growing.done()
                self._block_bytes = max(SMALLEST_BLOCK_BYTES, min(LARGEST_BLOCK_BYTES, growing.size_bytes))
                growing = _Growing(piece.next)
                yield piece
            elif is_last:
                return
            else:
                block, is_last = self._more(text, block, growing)

    def _more(self, text: Text, block: bytes, growing: _Growing) -> tuple[bytes, bool]:
        """The rest of a row and what follows it; and whether that is all."""
        if len(block) > LONGEST_ROW_BYTES:
            raise too_long(growing.start.line + growing.lines)
        # A row that is longer than all blocks so far: twice as much each time, so that it is not looked at too often.
        found = text.read(max(self._block_bytes, len(block)))
        self.read_bytes = text.read_bytes
        return (block + found if block else found), not found

    def _first_row(self, text: Text) -> tuple[bytes, bytes]:
        """The first row, with the empty lines around it, and what was read behind it."""
        block, is_last = b"", False
        while True:
            cut = self._dialect.cut(block, 1, is_last=is_last)
            if cut.rows or is_last:
                return block[: cut.end], block[cut.end :]
            if len(block) > LONGEST_ROW_BYTES:
                raise too_long(1)
            found = text.read(max(SMALLEST_BLOCK_BYTES, len(block)))
            is_last = not found
            block += found


def too_long(line: int) -> DatasetInvalid:
    """The refusal of a row that never ends."""
    message = f"line {line} has no end within {LONGEST_ROW_BYTES // MIB} MiB"
    hint = "Check the line ends, and whether a quote is opened there and never closed."
    return DatasetInvalid(message, hint, line=line)
