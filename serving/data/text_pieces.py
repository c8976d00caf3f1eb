"""Texts cut into pieces of whole rows, file after file: what CSV and JSON lines have in common."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from serving.data.cutting import Cut, Dialect, line_ends
from serving.data.formats import DatasetInvalid, Position
from serving.data.source import Piece, Reading
from serving.data.streams import MIB, Text

LONGEST_ROW_BYTES: Final = 64 * MIB
LARGEST_PIECE_BYTES: Final = 128 * MIB
LARGEST_BLOCK_BYTES: Final = 32 * MIB
FIRST_BLOCK_BYTES: Final = MIB
_MANY: Final = 2**31
SMALLEST_BLOCK_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class _Growing:
    """A piece that is being cut."""

    start: Position
    rows: int = 0
    size_bytes: int = 0
    lines: int = 0
    unended: int = 0  # bytes of a row whose end was not yet found
    has_long_rows: bool = False
    parts: list[memoryview] = field(default_factory=list)

    def add(self, block: memoryview, cut: Cut) -> None:
        """The rows that a block begins with."""
        if not self.rows and not cut.rows:  # nothing but empty lines, of which there may be any number
            begin = self.start
            offset, line = begin.offset + cut.end, begin.line + cut.lines
            self.start = Position(begin.chunk, begin.row, begin.file, offset, line)
        elif cut.end:
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
        return Piece(begin.chunk, begin.row, self.rows, begin.line, following, data, has_long_rows=self.has_long_rows)


class TextPieces:
    """Pieces of the texts of a reading; `has_header` where the first line of the first file is none of its rows."""

    def __init__(self, reading: Reading, dialect: Dialect, *, has_header: bool) -> None:
        self._reading, self._dialect, self._has_header = reading, dialect, has_header
        self._piece_bytes = FIRST_BLOCK_BYTES
        self.read_bytes = 0  # of the current file as it lies there

    def header(self) -> bytes:
        """The first row of the first file, with its line end; nothing where that has none. Raises `DatasetInvalid`."""
        with closing(Text(self._reading.files[0], self._reading.format)) as text:
            return self._first_row(text)

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
        with closing(Text(path, format, position.offset, self._passed)) as text:
            lines, offset = 0, text.offset
            if position.offset == 0 and self._has_header and self._is_header(header := self._first_row(text), position):
                lines, offset = line_ends(header, len(header)), offset + len(header)
            elif position.offset == 0 and self._has_header:
                text.unread(memoryview(header))
            position = Position(position.chunk, position.row, position.file, offset, position.line + lines)
            yield from self._pieces_of_text(text, position)

    def _passed(self, read_bytes: int) -> None:
        self.read_bytes = read_bytes

    def _is_header(self, row: bytes, position: Position) -> bool:
        return position.file == 0 or row.strip() == self.header().strip()

    def _pieces_of_text(self, text: Text, position: Position) -> Iterator[Piece]:
        growing, wanted = _Growing(position), self._reading.chunk_rows
        self._estimate(text)
        while True:
            block, is_last = self._block(text, growing)
            if block:
                cut = self._dialect.cut(block, wanted - growing.rows, is_last=is_last)
                growing.add(block, cut)
                text.unread(block[cut.end :])
                growing.unended = 0 if cut.end else len(block)
            self.read_bytes = text.read_bytes
            if growing.rows == wanted or (is_last and growing.rows):
                piece = growing.done()
                self._expect(growing.size_bytes)
                growing = _Growing(piece.next)
                yield piece
            elif is_last and not block:
                return

    def _estimate(self, text: Text) -> None:
        """How many bytes a piece will have, by the first rows: it is then read at once, not joined."""
        block = text.read(SMALLEST_BLOCK_BYTES)
        cut = self._dialect.cut(block, _MANY, is_last=text.is_over)
        text.unread(block)
        if cut.rows:
            self._expect(self._reading.chunk_rows * cut.end // cut.rows)

    def _expect(self, piece_bytes: int) -> None:
        self._piece_bytes = max(SMALLEST_BLOCK_BYTES, min(LARGEST_BLOCK_BYTES, piece_bytes))

    def _block(self, text: Text, growing: _Growing) -> tuple[memoryview, bool]:
        """What follows, as much as a piece has or needs for its end; and whether that is all."""
        if growing.unended > LONGEST_ROW_BYTES:
            raise too_long(growing.start.line + growing.lines)
        if growing.size_bytes > LARGEST_PIECE_BYTES:
            raise _too_large(growing.start.line, self._reading.chunk_rows)
        # A row that is longer than the block: twice as much each time, so that it is not looked at too often.
        rest = self._piece_bytes + self._piece_bytes // 64 - growing.size_bytes
        size = max(rest, SMALLEST_BLOCK_BYTES if rest > 0 else FIRST_BLOCK_BYTES, 2 * growing.unended)
        found = text.read(size)
        return found, text.is_over

    def _first_row(self, text: Text) -> bytes:
        """The first row, with the empty lines around it, taken off the text."""
        size = SMALLEST_BLOCK_BYTES
        while True:
            block = text.read(size)
            cut = self._dialect.cut(block, 1, is_last=text.is_over) if block else Cut(0, 0, 0)
            text.unread(block[cut.end :])
            if cut.rows or text.is_over:
                return bytes(block[: cut.end])
            if len(block) > LONGEST_ROW_BYTES:
                raise too_long(1)
            size = 2 * max(len(block), SMALLEST_BLOCK_BYTES)


def too_long(line: int) -> DatasetInvalid:
    """The refusal of a row that never ends."""
    message = f"line {line} has no end within {LONGEST_ROW_BYTES // MIB} MiB"
    hint = "Check the line ends, and whether a quote is opened there and never closed."
    return DatasetInvalid(message, hint, line=line)


def _too_large(line: int, rows: int) -> DatasetInvalid:
    message = f"{rows} rows from line {line} on have more than {LARGEST_PIECE_BYTES // MIB} MiB"
    return DatasetInvalid(message, "Read fewer rows at a time, or keep such values in files.", line=line)
