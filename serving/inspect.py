"""`python -m serving inspect FILE`: what the file is, proven by loading it and answering its own sample once."""

import errno
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from serving.engines.base import InvalidModel
from serving.loading import memory_exceeded, open_model, prove
from serving.parts.loading import inspect_parts, is_archive_of_parts
from serving.score import Identity
from serving.signature import Signature
from serving.signature_json import encode_signature

INVALID_STATUS = 65  # EX_DATAERR of sysexits.h
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def inspect(path: Path, threads: int, out: BinaryIO) -> int:
    """Write the signature as JSON; for a model that cannot be served `{"code","message","hint"}` and status 65."""
    try:
        signature = _inspected(path, threads)
    except InvalidModel as error:
        out.write(encode_refusal(error))
        return INVALID_STATUS
    except MemoryError:
        out.write(encode_refusal(memory_exceeded()))
        return INVALID_STATUS
    except OSError as error:
        out.write(encode_refusal(disk_full(error)))
        return INVALID_STATUS
    out.write(encode_signature(signature) + b"\n")
    return 0


def _inspected(path: Path, threads: int) -> Signature:
    if is_archive_of_parts(path):
        return inspect_parts(path, threads)
    return prove(open_model(path, None, threads), Identity(path.stem, path.stem, path.stem, "1"))


def disk_full(error: OSError) -> InvalidModel:
    """What is told where a part cannot be unpacked for want of room. Raises the error itself where it is another."""
    if error.errno not in _NO_ROOM:
        raise error
    message = f"there is no room to unpack the model: {error.strerror}"
    return InvalidModel("disk_full", message, "Make room on the disk of the worker's data folder, and try again.")


def encode_refusal(error: InvalidModel) -> bytes:
    """The JSON document of a model that cannot be served."""
    return msgspec.json.encode({"code": error.code, "message": error.message, "hint": error.hint}) + b"\n"
