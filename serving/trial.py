"""`python -m serving test --model FILE`: answer one prediction from stdin, with what the model printed meanwhile."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from serving.engines.base import InvalidModel
from serving.inspect import INVALID_STATUS, disk_full, encode_refusal
from serving.json_text import plain
from serving.loading import memory_exceeded
from serving.parts.loading import load_part
from serving.problems import Problem
from serving.score import Identity
from serving.signature import Signature
from serving.spellings import read_body

MAX_CAPTURED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """What is tried: a prediction's body, its content type, and the part that is asked, if it is not the default."""

    data: bytes
    content_type: bytes = b""
    part: str | None = None


def try_out(path: Path, signature: Signature | None, threads: int, body: Body, out: BinaryIO) -> int:
    """Write `{"outputs","stdout","stderr","duration_ms"}`, or an error document and status 65."""
    captured = _Captured(b"", b"")
    try:
        with _captured_output() as printed:
            try:
                identity = Identity(path.stem, path.stem, path.stem, "1")
                loaded = load_part(path, signature, body.part, identity, threads)
                begun = time.perf_counter()
                asked = read_body(loaded.scorer.validator, body.data, body.content_type)
                outputs = loaded.scorer.answer(asked.whole())
                duration_ms = (time.perf_counter() - begun) * 1000
            finally:
                captured = printed.read()
    except InvalidModel as error:
        out.write(encode_refusal(error))
        return INVALID_STATUS
    except Problem as problem:
        document = {**problem.as_json(), "message": problem.detail, "hint": problem.hint, **captured.as_json()}
        out.write(msgspec.json.encode(document) + b"\n")
        return INVALID_STATUS
    except MemoryError:
        out.write(encode_refusal(memory_exceeded()))
        return INVALID_STATUS
    except OSError as error:
        out.write(encode_refusal(disk_full(error)))
        return INVALID_STATUS
    document = {"outputs": outputs, **captured.as_json(), "duration_ms": round(duration_ms, 3)}
    out.write(msgspec.json.encode(document, enc_hook=plain) + b"\n")
    return 0


@dataclass(frozen=True, slots=True)
class _Captured:
    stdout: bytes
    stderr: bytes

    def as_json(self) -> dict[str, object]:
        return {"stdout": self.stdout.decode("utf-8", "replace"), "stderr": self.stderr.decode("utf-8", "replace")}


@dataclass(frozen=True, slots=True)
class _Printed:
    stdout: BinaryIO
    stderr: BinaryIO

    def read(self) -> _Captured:
        sys.stdout.flush()
        sys.stderr.flush()
        return _Captured(_tail(self.stdout), _tail(self.stderr))


@contextmanager
def _captured_output() -> Iterator[_Printed]:
    """Both streams into files at the level of descriptors, so that C++ and Java are captured like Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        try:
            yield _Printed(stdout, stderr)
        finally:
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def _tail(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_CAPTURED_BYTES))
    return file.read()
