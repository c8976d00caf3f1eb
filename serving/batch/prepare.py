"""What a run needs before its first chunk: the model in memory, its inputs bound to columns, the files open."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from serving.batch.baskets import WholeBaskets, basket_column
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
from serving.data.formats import Format
from serving.data.open import open_source
from serving.data.source import Source
from serving.parts.loading import load_part
from serving.score import Identity, Scorer
from serving.signature import Signature
from serving.signature_json import InvalidSignature, decode_signature


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that can begin; `rows` of nothing where nobody knows how many there are."""

    source: Source
    chunks: Chunks
    rows: int | None
    chunk_rows: int
    columns: Sequence[Mapping[str, object]]

    def as_json(self) -> dict[str, object]:
        """The report of it."""
        return {"rows": self.rows, "columns": self.columns, "chunk_rows": self.chunk_rows}


def prepare(options: argparse.Namespace, plan: Plan, resume: Resume) -> Ready:
    """Load the model and open the input. Raises `BatchFailed`, `InvalidModel`, `DatasetInvalid`, `OSError`."""
    forget_leftovers(options.output)
    scorer = _load(options.model, _signature(options.signature), plan, options.threads)
    basket: str | None = None
    if plan.input.kind == "files":
        binding = bind_files(plan, scorer.signature)
        outputs = output_columns(scorer, binding.pass_through)
        source: Source = FilesSource(plan.input, chunk_rows := plan.chunk_rows or MOST_ROWS, resume.position)
        call_rows: int | None = 1  # each has a shape of its own
    else:
        binding, format_, schema = _bind_table(plan, scorer.signature)
        outputs = output_columns(scorer, binding.pass_through)
        answer_bytes = sum(each.width_bytes for each in outputs)
        chunk_rows = plan.chunk_rows or chunk_rows_of(plan.input.files, format_, schema, answer_bytes)
        basket = basket_column(scorer.loaded, binding)
        start = resume.position if basket is None else None
        source = open_source(plan.input.files, format_, chunk_rows=chunk_rows, start=start, columns=binding.needed)
        if basket is not None:
            source = WholeBaskets(source, basket, [each.column for each in binding.fed], resume.position)
        call_rows = 1 if mixes_records(scorer) else None
    by = ChunkScorer(scorer.renamed(binding.signature), binding, outputs, call_rows=call_rows, basket=basket)
    lines = lines_of(plan.input.format)
    chunks = Chunks(source, by, binding.pass_through, outputs, plan.output, options.output, lines)
    columns = [{"name": name, "type": kind} for name, kind in schema_of(chunks.schema, plan.output)]
    rows = plan.rows if source.rows is None else source.rows
    return Ready(source, chunks, rows, chunk_rows, columns)


def _bind_table(plan: Plan, signature: Signature) -> tuple[Binding, Format, pa.Schema]:
    """Which columns are read, as what, and what they are then."""
    files, format_ = plan.input.files, plan.input.format
    assert format_ is not None
    binding = bind(plan, signature, open_source(files, format_, chunk_rows=1).schema.names)
    format_ = as_fed(format_, binding)
    schema = open_source(files, format_, chunk_rows=1, columns=binding.needed).schema
    check_types(binding, schema)
    return binding, format_, schema


def _load(path: Path, signature: Signature | None, plan: Plan, threads: int) -> Scorer:
    version = plan.version
    identity = Identity(version.model, version.model, version.model, version.version)
    return load_part(path, signature, version.part, identity, threads).scorer


def _signature(path: Path | None) -> Signature | None:
    try:
        return None if path is None else decode_signature(path.read_bytes())
    except (InvalidSignature, OSError) as error:
        raise BatchFailed("plan_invalid", f"--signature: {error}") from error
