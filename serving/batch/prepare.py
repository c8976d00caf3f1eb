"""What a run needs before its first chunk: the model in memory, its inputs bound to columns, the files open."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.batch.chunk_rows import chunk_rows_of
from serving.batch.chunks import Chunks
from serving.batch.files import MOST_ROWS, FilesSource, bind_files
from serving.batch.lines import lines_of
from serving.batch.mapping import Binding, as_fed, bind, check_types
from serving.batch.outputs import output_columns
from serving.batch.plan import BatchFailed, Plan, Resume
from serving.batch.scoring import ChunkScorer
from serving.batch.writing import forget_leftovers, schema_of
from serving.batch_trial import mixes_records
from serving.data.open import open_source
from serving.data.source import Source
from serving.parts.loading import load_part
from serving.score import Identity, Scorer
from serving.signature import Signature
from serving.signature_json import InvalidSignature, decode_signature


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that can begin; `started` is what is reported of it."""

    source: Source
    chunks: Chunks
    started: Mapping[str, object]


def prepare(options: argparse.Namespace, plan: Plan, resume: Resume) -> Ready:
    """Load the model and open the input. Raises `BatchFailed`, `InvalidModel`, `DatasetInvalid`, `OSError`."""
    forget_leftovers(options.output)
    scorer = _load(options.model, _signature(options.signature), plan, options.threads)
    if plan.input.kind == "files":
        binding = bind_files(plan, scorer.signature)
        chunk_rows = plan.chunk_rows or MOST_ROWS
        source: Source = FilesSource(plan.input, chunk_rows, resume.position)
        call_rows: int | None = 1  # each has a shape of its own
    else:
        binding, source, chunk_rows = _open_table(plan, resume, scorer.signature)
        call_rows = 1 if mixes_records(scorer) else None
    outputs = output_columns(scorer, binding.pass_through)
    by = ChunkScorer(scorer.renamed(binding.signature), binding, outputs, call_rows=call_rows)
    chunks = Chunks(source, by, binding.pass_through, outputs, plan.output, options.output, lines_of(plan.input.format))
    columns = [{"name": name, "type": kind} for name, kind in schema_of(chunks.schema, plan.output)]
    return Ready(source, chunks, {"rows": source.rows, "columns": columns, "chunk_rows": chunk_rows})


def _open_table(plan: Plan, resume: Resume, signature: Signature) -> tuple[Binding, Source, int]:
    files, format_ = plan.input.files, plan.input.format
    assert format_ is not None
    schema = open_source(files, format_, chunk_rows=1).schema
    binding = bind(plan, signature, schema.names)
    format_ = as_fed(format_, binding)
    needed = open_source(files, format_, chunk_rows=1, columns=binding.needed).schema
    check_types(binding, needed)
    chunk_rows = plan.chunk_rows or chunk_rows_of(files, format_, needed)
    source = open_source(files, format_, chunk_rows=chunk_rows, start=resume.position, columns=binding.needed)
    return binding, source, chunk_rows


def _load(path: Path, signature: Signature | None, plan: Plan, threads: int) -> Scorer:
    version = plan.version
    identity = Identity(version.model, version.model, version.model, version.version)
    return load_part(path, signature, version.part, identity, threads).scorer


def _signature(path: Path | None) -> Signature | None:
    try:
        return None if path is None else decode_signature(path.read_bytes())
    except (InvalidSignature, OSError) as error:
        raise BatchFailed("plan_invalid", f"--signature: {error}") from error
