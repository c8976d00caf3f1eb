"""The commands behind `__main__`, once limits are set and heavy imports are allowed."""

import argparse
import gc
import sys
from pathlib import Path
from typing import BinaryIO

from serving.batch_trial import plan_batches
from serving.parts.loading import LoadedParts, load_parts
from serving.score import Identity
from serving.server import Listen, run_server
from serving.signature import Signature
from serving.signature_json import InvalidSignature, decode_signature
from serving.trial import Body, try_out
from serving.tuning import tuning_of


def serve(options: argparse.Namespace, token: str | None, out: BinaryIO) -> int:
    """Serve until told to stop."""
    try:
        signature = _signature(options.signature)
    except (InvalidSignature, OSError) as error:
        return _usage_error(f"--signature {options.signature}: {error}")
    name = options.name or options.service or options.model.stem
    model_name = options.model_name or options.model.stem
    identity = Identity(name, options.service or name, model_name, options.version or "1", options.replica or "")
    listen = Listen(
        options.host,
        options.port,
        options.socket,
        options.listen_fd,
        token,
        options.max_body_mb * 2**20,
        options.grace_s,
        options.threads,
        options.grpc_port,
    )

    tuning = tuning_of(options)

    def load() -> LoadedParts:
        loaded = load_parts(options.model, signature, identity, options.threads)
        plan_batches(loaded, tuning, options.threads)
        # All this stays. To look at it again takes the collector 25 ms, and JPype lets it at each collection of Java's.
        gc.collect()
        gc.freeze()
        return loaded

    try:
        return run_server(listen, identity, load, out, tuning)
    except OSError as error:
        where = options.socket or f"{options.host}:{options.port}"
        where = where if options.listen_fd is None else f"file descriptor {options.listen_fd}"
        return _usage_error(f"cannot listen on {where}: {error.strerror or error}; choose another, or --port 0")


def test(options: argparse.Namespace, body: bytes, out: BinaryIO) -> int:
    """Answer one prediction body."""
    try:
        signature = _signature(options.signature)
    except (InvalidSignature, OSError) as error:
        return _usage_error(f"--signature {options.signature}: {error}")
    given = Body(body, options.content_type.encode("latin-1", "replace"), options.part)
    return try_out(options.model, signature, options.threads, given, out)


def _signature(path: Path | None) -> Signature | None:
    return None if path is None else decode_signature(path.read_bytes())


def _usage_error(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2
