"""The outline of protobuf files: their top-level fields, read without the contents (protobuf.dev, "Encoding").

`ModelOutline` follows an ONNX file as it streams and knows at the end whether it was cut off; constant memory.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from core.errors import FieldProblem, InvalidArtifact

VARINT, LENGTH = 0, 2
# onnx.proto, ModelProto: field numbers and their wire types.
MODEL_FIELDS: Final = {1: VARINT, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: VARINT, 6: LENGTH, 7: LENGTH, 8: LENGTH,
                       14: LENGTH, 20: LENGTH, 25: LENGTH, 26: LENGTH}  # fmt: skip
IR_VERSION, GRAPH, OPSET = 1, 7, 8
TEXTS: Final = (2, 3, 4, 6)
LATEST_FIELD = 60  # newer exporters may write fields that onnx.proto does not have yet
MOST_FIELDS = 100_000
# First bytes of a GraphProto (its fields 1, 2, 5, 10 to 16, all length-delimited) and of an OperatorSetIdProto.
GRAPH_BEGINS: Final = frozenset(b"\x0a\x12\x2a\x52\x5a\x62\x6a\x72\x7a\x82")
OPSET_BEGINS: Final = frozenset(b"\x0a\x10")


@dataclass(frozen=True, slots=True)
class Member:
    """One top-level field: `value` is its number or its length, `start` where its content begins."""

    number: int
    wire: int
    value: int
    start: int


class ModelOutline:
    """The top-level fields of an ONNX file, fed piece by piece."""

    def __init__(self) -> None:
        self._fields = _Fields()
        self._seen: set[int] = set()
        self._count = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises `InvalidArtifact` where the structure breaks."""
        for member in self._fields.feed(piece):
            self._count += 1
            if not _may_be(member) or self._count > MOST_FIELDS:
                raise _broken(f"is not a whole ONNX file: byte {member.start} begins nothing that ONNX has")
            self._seen.add(member.number)
        if self._fields.is_broken:
            raise _broken(f"is not a whole ONNX file: byte {self._fields.position} begins nothing that ONNX has")

    def finish(self) -> None:
        """The file has ended. Raises `InvalidArtifact` when it was cut off or has no graph."""
        if self._fields.missing_bytes:
            raise _broken(
                f"is a truncated ONNX file: at least {self._fields.missing_bytes} bytes are missing at its end"
            )
        if GRAPH not in self._seen:
            raise _broken("is an ONNX file without a graph")


def is_onnx(head: bytes) -> bool:
    """Whether a file that begins so has the structure of a ModelProto, in any order of its fields."""
    fields, known, seen = _Fields(), 0, set[int]()
    for member in itertools.islice(fields.feed(head), MOST_FIELDS):
        if not _may_be(member) or not _content_fits(member, head):
            return False
        if not known and member.number not in MODEL_FIELDS:
            return False
        known += member.number in MODEL_FIELDS
        seen.add(member.number)
    return not fields.is_broken and bool(seen & {IR_VERSION, GRAPH, OPSET})


def seems_saved_model(head: bytes) -> bool:
    """TensorFlow's saved_model.pb: a schema version, then meta graphs (a damaged ONNX file has a text there)."""
    members = list(itertools.islice(_Fields().feed(head), 2))
    begins = [(m.number, m.wire) for m in members] == [(1, VARINT), (2, LENGTH)] and members[0].value <= 10
    return begins and head[members[1].start : members[1].start + 1] in (b"\x0a", b"\x12")


def seems_frozen_graph(head: bytes) -> bool:
    """TensorFlow's GraphDef: nodes (field 1), each beginning with its name and its operator."""
    node = next(_Fields().feed(head), None)
    if node is None or (node.number, node.wire) != (1, LENGTH):
        return False
    inner = list(itertools.islice(_Fields().feed(head[node.start : node.start + node.value]), 2))
    return [(m.number, m.wire) for m in inner] == [(1, LENGTH), (2, LENGTH)]


def seems_core_ml(head: bytes) -> bool:
    """Core ML's Model: a specification version, a description, then the model in a field from 200 on."""
    members = list(itertools.islice(_Fields(most_number=4000).feed(head), 16))
    begins = [(m.number, m.wire) for m in members[:2]] == [(1, VARINT), (2, LENGTH)]
    return begins and any(200 <= m.number <= 3000 for m in members[2:])


def _may_be(member: Member) -> bool:
    return MODEL_FIELDS.get(member.number, member.wire) == member.wire and member.number <= LATEST_FIELD


def _content_fits(member: Member, head: bytes) -> bool:
    """What the head shows of a field's content must be what onnx.proto has there."""
    content = head[member.start : member.start + min(member.value, 400)] if member.wire == LENGTH else b""
    checks: dict[int, Callable[[], bool]] = {
        IR_VERSION: lambda: 0 < member.value < 1000,
        GRAPH: lambda: content[:1] in (b"", *map(bytes, ([first] for first in GRAPH_BEGINS))),
        OPSET: lambda: member.value < 1000 and (not content or content[0] in OPSET_BEGINS),
        **dict.fromkeys(TEXTS, lambda: _is_text(content)),
    }
    return checks.get(member.number, lambda: True)()


def _is_text(content: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\n\r" for byte in content)


def _broken(sentence: str) -> InvalidArtifact:
    hint = "write the model to a file again and upload that, whole"
    return InvalidArtifact(f"the file {sentence}; {hint}", fields=[FieldProblem("/file", f"the file {sentence}", hint)])


class _Fields:
    """Cuts a stream into top-level fields; contents are skipped over."""

    def __init__(self, most_number: int = 4000) -> None:
        self._most_number = most_number
        self._skip = 0  # bytes of content still to come
        self._tag: int | None = None  # of a field whose number or length is not complete
        self._number = self._shift = 0
        self.position = 0  # in the whole stream
        self.is_broken = False

    @property
    def missing_bytes(self) -> int:
        """How many bytes must still come, at least."""
        return self._skip or int(self._tag is not None or self._shift > 0)

    def feed(self, piece: bytes) -> Iterator[Member]:
        """The fields whose number or length ends in this piece."""
        here = 0
        while here < len(piece) and not self.is_broken:
            if self._skip:
                step = min(self._skip, len(piece) - here)
                self._skip -= step
                here, self.position = here + step, self.position + step
                continue
            number = self._varint(piece[here])
            here, self.position = here + 1, self.position + 1
            if number is not None and (member := self._member(number)) is not None:
                yield member

    def _varint(self, byte: int) -> int | None:
        """The number that this byte completes, if it does."""
        self._number |= (byte & 0x7F) << self._shift
        self._shift += 7
        if byte & 0x80:
            self.is_broken = self._shift > 63
            return None
        number, self._number, self._shift = self._number, 0, 0
        return number

    def _member(self, number: int) -> Member | None:
        """The field that this number completes; a tag waits for its value."""
        if self._tag is None:
            self._tag = number
            self.is_broken = number & 7 not in (VARINT, LENGTH) or not 0 < number >> 3 <= self._most_number
            return None
        member = Member(self._tag >> 3, self._tag & 7, number, self.position)
        self._tag = None
        self._skip = number if member.wire == LENGTH else 0
        return member
