"""`python -m serving`: serve a model file, inspect one, or try one out. The only place that reads arguments.

Limits are set before anything heavy is imported, which is why the commands import what they need themselves.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from serving.data.options import data_parser
from serving.process import (
    SMALLEST_MB,
    ask_for_gpus,
    end_after,
    end_with_parent,
    expect_bulk,
    expect_to_last,
    forgive_full_log,
    limit_memory,
    limit_threads,
    take_stdout,
)
from serving.tuning import add_tuning

DATA_ERROR = 65
PINS = {"engine": "--engine", "engine_version": "--engine-version", "python": "--python-version"}
OUT_OF_TIME = b'{"code":"time_limit_exceeded","message":"the %s took longer than allowed","hint":"%s"}\n'

TOO_LITTLE_MEMORY = b'{"code":"memory_limit_exceeded","message":"a model server needs at least %d MB","hint":""}\n'


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status."""
    if arguments[:1] == ["inspect"]:
        return _inspect(_inspect_parser().parse_args(arguments[1:]))
    if arguments[:1] == ["test"]:
        return _test(_test_parser().parse_args(arguments[1:]))
    if arguments[:1] == ["batch"]:
        return _batch(_batch_parser().parse_args(arguments[1:]))
    if arguments[:1] == ["runtimes"]:
        return _runtimes(_runtimes_parser().parse_args(arguments[1:]))
    if arguments[:1] == ["data"]:
        return _data(data_parser().parse_args(arguments[1:]))
    return _serve(_serve_parser().parse_args(arguments))


def _serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m serving",
        description="Serve one model file: POST /predict, and the Open Inference Protocol under /v2. "
        "Other commands: `inspect FILE` says what a file is, `test --model FILE` answers one prediction from stdin, "
        "`batch --plan FILE` scores a dataset, `data` describes data files, `runtimes` says which engines there are.",
    )
    _add_model(parser)
    parser.add_argument("--socket", type=Path, metavar="PATH", help="listen on a unix socket, instead of TCP")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--listen-fd", type=int, metavar="FD", help="a bound TCP socket, instead of an address")
    parser.add_argument(
        "--grpc-port", type=int, metavar="PORT", help="serve gRPC there too, on the same host; 0: a free one"
    )
    parser.add_argument("--name", help="the model's name in URLs (default: the service's, else the file's)")
    for part in ("service", "version", "replica"):
        variable = f"PORTSIDE_{part.upper()}"
        parser.add_argument(f"--{part}", default=os.environ.get(variable), help=f"told in answers (env {variable})")
    parser.add_argument("--model-name", default=os.environ.get("PORTSIDE_MODEL"), help="likewise (env PORTSIDE_MODEL)")
    parser.add_argument("--token-env", metavar="NAME", help="the variable with the bearer token that TCP clients need")
    parser.add_argument("--max-body-mb", type=int, default=64, help="the largest request body (default: %(default)s)")
    for flag in PINS.values():
        parser.add_argument(flag, help="serve with this and nothing else: 1.31 is any 1.31.x")
    parser.add_argument(
        "--gpu", type=int, default=0, help="GPUs to run on; ends where none works (default: %(default)s)"
    )
    parser.add_argument("--grace-s", type=float, default=10, help="for requests to finish (default: %(default)s)")
    add_tuning(parser)
    _add_limits(parser)
    return parser


def _inspect_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving inspect", description="Print what a model file is, as JSON.")
    parser.add_argument("model", type=Path, metavar="FILE")
    parser.add_argument("--timeout-s", type=float)
    _add_limits(parser)
    return parser


def _test_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving test", description="Answer one prediction body from stdin.")
    _add_model(parser)
    parser.add_argument("--part", metavar="KEY", help="the part of an archive that is asked (default: its default one)")
    parser.add_argument("--content-type", default="", help="what stdin is: JSON unless this says text/csv or a form")
    parser.add_argument("--timeout-s", type=float)
    _add_limits(parser)
    return parser


def _batch_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving batch", description="Score the rows of a dataset, as planned.")
    _add_model(parser)
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="what is to be done, as JSON")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where chunks are written")
    parser.add_argument("--report-fd", type=int, required=True, metavar="FD", help="a pipe's write end, for reports")
    parser.add_argument("--ack-fd", type=int, required=True, metavar="FD", help="a pipe's read end: what was kept")
    _add_limits(parser)
    return parser


def _runtimes_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving runtimes", description="Print the engines there are, as JSON.")
    _add_limits(parser)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, required=True, metavar="FILE", help="an ONNX or PMML file, or an archive of some"
    )
    parser.add_argument("--signature", type=Path, metavar="FILE", help="what `inspect` printed, to start faster")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="for one prediction (default: %(default)s)")
    parser.add_argument("--memory-mb", type=int, help="the most memory that this process may use")
    parser.add_argument("--parent-fd", type=int, help="a pipe's read end: at its EOF this process ends")


def _prepare(options: argparse.Namespace) -> BinaryIO:
    """Set the limits; the stream for what the command prints."""
    out = take_stdout()
    forgive_full_log()
    if options.memory_mb is not None and options.memory_mb < SMALLEST_MB:
        out.write(TOO_LITTLE_MEMORY % SMALLEST_MB)
        sys.stderr.write(f"--memory-mb {options.memory_mb} is too little: at least {SMALLEST_MB} are needed\n")
        raise SystemExit(DATA_ERROR)
    if options.parent_fd is not None:
        end_with_parent(options.parent_fd)
    limit_memory(options.memory_mb)
    limit_threads(options.threads)
    if getattr(options, "timeout_s", None):
        what, instead = (b"data", b"smaller files") if "file" in options else (b"model", b"a smaller model")
        hint = b"Raise the limit of %d s, or export %s." % (options.timeout_s, instead)
        end_after(options.timeout_s, out, OUT_OF_TIME % (what, hint), DATA_ERROR)
    return out


def _serve(options: argparse.Namespace) -> int:
    out = _prepare(options)
    ask_for_gpus(options.gpu)
    expect_to_last()
    token = os.environ.pop(options.token_env, "") if options.token_env else None
    if token == "":
        sys.stderr.write(f"--token-env names {options.token_env}, which is not set: set it to the token\n")
        return 2
    if options.grpc_port is not None and options.socket is not None:
        sys.stderr.write("--grpc-port listens on TCP beside --port, not beside --socket: leave one out\n")
        return 2
    if missing := _missing_runtime(options):
        sys.stderr.write(f"{missing}\n")
        return DATA_ERROR
    from serving.command import serve

    return serve(options, token, out)


def _missing_runtime(options: argparse.Namespace) -> str | None:
    """A refusal where this is not the runtime that was asked for; costs nothing where none was."""
    given = {part: getattr(options, flag.removeprefix("--").replace("-", "_")) for part, flag in PINS.items()}
    wanted = {part: value for part, value in given.items() if value}
    if not wanted:
        return None
    from serving.pinning import missing_runtime

    return missing_runtime(wanted, options.model, options.signature)


def _inspect(options: argparse.Namespace) -> int:
    out = _prepare(options)
    from serving.inspect import inspect

    return inspect(options.model, options.threads, out)


def _batch(options: argparse.Namespace) -> int:
    _prepare(options)
    expect_bulk()
    from serving.batch.open import run_plan

    return run_plan(options)


def _runtimes(options: argparse.Namespace) -> int:
    out = _prepare(options)
    from serving.runtimes import tell_runtimes

    return tell_runtimes(out)


def _data(options: argparse.Namespace) -> int:
    out = _prepare(options)
    if options.memory_mb is not None:
        # Its usual one reserves a gigabyte at its first use. The system's has no end of holes where the texts of many
        # columns are read: for each, Arrow first takes as much memory as all columns have together.
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    from serving.data import commands

    return commands.unpack(options, out) if options.command == "unpack" else commands.describe(options, out)


def _test(options: argparse.Namespace) -> int:
    out = _prepare(options)
    body = sys.stdin.buffer.read()
    from serving.command import test

    return test(options, body, out)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    # Not sys.exit: a prediction that never ends, or a JVM's threads, must not keep a stopped server alive.
    os._exit(status)
