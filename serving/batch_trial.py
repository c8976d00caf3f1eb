"""Finds by trying how many records a model should be given together: as many as still make it quicker for each.

The records that are tried differ, so that a model which mixes them up is found out. Being tried also warms it up.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.batcher import Plan
from serving.engines.base import Columns
from serving.loading import Loaded
from serving.parts.loading import LoadedParts
from serving.problems import Problem
from serving.sample import candidate_samples
from serving.score import Scorer
from serving.signature import Signature
from serving.tuning import Tuning

# Below this a model is answered on the loop, one request after the other: see `pace`.
QUICK_S = 0.000_25
_SIZES = (2, 4, 8, 16, 32, 64)
_TRIAL_S = 0.5
_TRIES = 3
_WORTH = 0.1  # the least share of its time that a record must save,
HOP_S = 0.000_15  # and the time that it loses on the way through a thread
_WORTH_DOUBLING = 0.95  # the most time of a record as against that in a smaller batch
_MOST_BYTES = 64 * 1024 * 1024
# Sums over many numbers end in other last digits where an engine orders them otherwise.
_CLOSE = 1e-4


class Unstackable(Exception):
    """Records that are run together are not answered as they are alone."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best size, and the seconds for each of so many records, and alone."""

    size: int = 1
    each_s: float = 0.0
    alone_s: float = 0.0


def plan_batches(loaded: LoadedParts, tuning: Tuning, threads: int) -> None:
    """Give each model its batcher."""
    for each in {id(each): each for each in (loaded.default, *loaded.by_key.values())}.values():
        each.scorer.batch(plan_for(each, tuning, threads))


def plan_for(loaded: Loaded, tuning: Tuning, threads: int) -> Plan:
    """How this model's requests are put together."""
    found = _found(loaded, tuning)
    if found.size == 1:
        return Plan(instances=tuning.instances or max(2, threads))
    return Plan(found.size, tuning.max_delay_s, tuning.instances or 1)


def _found(loaded: Loaded, tuning: Tuning) -> Found:
    signature, scorer = loaded.scorer.signature, loaded.scorer
    # PMML4S takes one row after the other, whoever they belong to.
    if signature.batch != "stack" or signature.format == "pmml" or tuning.max_batch == 1:
        return Found()
    if tuning.max_batch is None and loaded.call_s < QUICK_S:
        return Found()
    try:
        found = _try_sizes(scorer, tuning.max_batch)
    except (Problem, Unstackable, MemoryError) as error:
        _say(scorer, f"runs each request alone: {error}")
        return Found()
    if found.size > 1:
        told = f"{found.each_s * 1000:.3g} ms each instead of {found.alone_s * 1000:.3g} ms"
        _say(scorer, f"runs up to {found.size} records together: {told}")
    return found


def _say(scorer: Scorer, text: str) -> None:
    name = "/".join(filter(None, (scorer.identity.name, scorer.identity.part)))
    sys.stderr.write(f"{name} {text}\n")


def _try_sizes(scorer: Scorer, wanted: int | None) -> Found:
    """Raises what `scorer.run` does, and `Unstackable`."""
    deadline = time.perf_counter() + _TRIAL_S
    records = _records(scorer)
    if not records:
        raise Unstackable("its inputs are too large to make some")
    alone = [scorer.run(record) for record in records]
    alone_s = min(_timed(scorer, records[:1]) for _ in range(_TRIES))
    best = Found(1, alone_s, alone_s)
    for size in _SIZES if wanted is None else (wanted,):
        predicted_s = best.each_s * size * (_TRIES + 1)
        too_large = _bytes_of(records[0]) * size > _MOST_BYTES or _bytes_of(alone[0]) * size > _MOST_BYTES
        if wanted is None and (too_large or time.perf_counter() + predicted_s > deadline):
            break
        chosen = [index % len(records) for index in range(size)]
        together = [records[index] for index in chosen]
        _compare(scorer.run(_stacked(together)), [alone[index] for index in chosen])
        each_s = min(_timed(scorer, together) for _ in range(_TRIES)) / size
        if wanted is not None or each_s < best.each_s * _WORTH_DOUBLING:
            best = Found(size, each_s, alone_s)
        elif size > 2 * best.size:
            break  # one size that is no better may be followed by one that is
    saved_s = alone_s - best.each_s
    return best if wanted is not None or saved_s > max(alone_s * _WORTH, HOP_S) else Found()


def _timed(scorer: Scorer, records: Sequence[Columns]) -> float:
    begun = time.perf_counter()
    scorer.run(_stacked(records) if len(records) > 1 else records[0])
    return time.perf_counter() - begun


def _records(scorer: Scorer) -> list[Columns]:
    """Some records that the model answers, as different as the sample allows."""
    for sample in candidate_samples(scorer.signature):
        try:
            record = scorer.validator.question({"inputs": sample}).calls[0]
            scorer.run(record)
        except Problem:
            continue
        found = [record]
        for step in (1, 2):
            other = _varied(record, step, scorer.signature)
            try:
                scorer.run(other)
            except Problem:
                continue
            found.append(other)
        return found
    return []


def _varied(record: Columns, step: int, signature: Signature) -> Columns:
    """The record with other numbers in it, where the signature does not say which ones there may be."""
    free = {field.name for field in signature.inputs if field.values is None and field.intervals is None}
    return {name: _moved(column, step) if name in free else column for name, column in record.items()}


def _moved(column: NDArray[np.generic], step: int) -> NDArray[np.generic]:
    if column.dtype.kind == "f":
        return (column.astype(np.float64) * (1 + 0.25 * step)).astype(column.dtype)
    if column.dtype.kind in "iu":
        least: NDArray[np.generic] = np.full_like(column, step)
        return np.asarray(np.subtract(np.maximum(column, least), least))
    return column


def _stacked(records: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([record[name] for record in records]) for name in records[0]}


def _compare(outputs: Columns, alone: Sequence[Columns]) -> None:
    """Raises `Unstackable` where the outputs are not those of the records one by one."""
    for name, column in outputs.items():
        if not column.ndim or len(column) != len(alone):
            raise Unstackable(f"its output {name!r} of {len(alone)} records has the shape {list(column.shape)}")
        one = (1, *column.shape[1:])
        if any(each[name].shape != one for each in alone):
            raise Unstackable(f"its output {name!r} of one record is not {list(one)}")
        if not _is_close(column, np.concatenate([each[name] for each in alone])):
            raise Unstackable(f"its output {name!r} is another one when records are run together")


def _is_close(given: NDArray[np.generic], expected: NDArray[np.generic]) -> bool:
    if given.dtype.kind != "f":
        return bool((given == expected).all())
    numbers, wanted = given.astype(np.float64), expected.astype(np.float64)
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return np.allclose(numbers, wanted, rtol=_CLOSE, atol=_CLOSE * scale * 0.01, equal_nan=True)


def _bytes_of(columns: Mapping[str, NDArray[np.generic]]) -> int:
    return sum(column.nbytes for column in columns.values())
