"""Runs in this process, chunk after chunk, for what needs no child: the same threads and pipes aside."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import onnx
import pyarrow as pa

from serving.batch.plan import Plan, Resume, read_plan
from serving.batch.prepare import Ready, prepare
from serving.data.formats import Position
from tests.serving.engines.onnx_models import saved

Row = Mapping[str, object]


@dataclass(slots=True)
class Made:
    """What a run has written, part by part."""

    started: Mapping[str, object]
    parts: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    bad: list[Row] = field(default_factory=list)
    rows_in: list[int] = field(default_factory=list)


def ready(folder: Path, model: Path, plan: Mapping[str, object]) -> tuple[Plan, Ready]:
    """A run that could begin."""
    folder.mkdir(exist_ok=True)
    file = folder / "plan.json"
    file.write_bytes(msgspec.json.encode(plan))
    read = read_plan(file)
    options = argparse.Namespace(output=folder, model=model, signature=None, threads=1)
    return read, prepare(options, read, read.resume or Resume(Position()))


def made(folder: Path, model: Path, plan: Mapping[str, object]) -> Made:
    """Everything that a run writes."""
    read, run = ready(folder, model, plan)
    found = Made(run.as_json())
    before = 0 if read.resume is None else read.resume.position.row
    for piece in run.source.pieces():
        done = run.chunks.make(piece)
        assert done.first_row == before + sum(found.rows_in), "a chunk begins where the one before it ended"
        assert done.rows_out + done.bad == done.rows_in, "each row is in the output or bad"
        found.parts.append(done.file.read_bytes())
        found.names.append(done.file.name)
        found.rows_in.append(done.rows_in)
        if done.bad_file is not None:
            found.bad += [msgspec.json.decode(line) for line in done.bad_file.read_bytes().splitlines()]
        run.chunks.forget(done)
    return found


def table_plan(file: Path | Sequence[Path], format_: Mapping[str, object], **more: object) -> dict[str, object]:
    """A plan over files of one format; the output is CSV unless said."""
    files = [file] if isinstance(file, Path) else file
    given = {"files": [str(each) for each in files], "format": format_}
    return {"input": given, "output": {"format": "csv"}, **more}


def csv_format(**types: str) -> dict[str, object]:
    """A CSV format with columns of these types."""
    return {"format": "csv", "columns": [{"name": name, "type": kind} for name, kind in types.items()]}


def read_parts(parts: Sequence[bytes]) -> pa.Table:
    """Arrow streams below each other."""
    return pa.concat_tables([pa.ipc.open_stream(part).read_all() for part in parts])


def model_file(model: onnx.ModelProto, folder: Path) -> Path:
    """A model as a file."""
    return saved(model, folder)
