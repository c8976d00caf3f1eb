"""Finds by trying how many records a model should be given together: as many as still make it quicker for each.

The records that are tried differ, so that a model which mixes them up is found out. Being tried also warms it up.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.batcher import Plan
from serving.cores import usable_cores
from serving.engines.base import Columns
from serving.engines.providers import CPU
from serving.loading import Loaded
from serving.parts.loading import LoadedParts
from serving.problems import Problem
from serving.sample import candidate_samples
from serving.score import Scorer
from serving.signature import Scalar, Signature
from serving.tuning import Tuning

# Below this a model is answered on the loop, one request after the other: see `pace`.
QUICK_S = 0.000_25
_SIZES = (2, 4, 8, 16, 32, 64)
# What the trials of all models of a replica may take together, and as many calls of each in any case.
_TRIAL_S, _TRIAL_CALLS = 0.5, 4
_TRIES, _TRY_AGAIN_S = 5, 0.05  # other work on the machine slows some; a slow call is measured once
_WORTH = 0.1  # the least share of its time that a record must save,
HOP_S = 0.000_15  # and the time that it loses on the way through a thread
_WORTH_DOUBLING = 0.95  # the most time of a record as against that in a smaller batch
_MOST_BYTES = 64 * 1024 * 1024
# Sums over many numbers end in other last digits where an engine orders them otherwise.
_CLOSE = 1e-4
Clock = Callable[[], float]
_MIXED = 8  # records that are run together to see whether a model mixes them up


class Unstackable(Exception):
    """Records that are run together are not answered as they are alone."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best size, the seconds for each of so many records, and alone; and whether no bit of an answer differs."""

    size: int = 1
    each_s: float = 0.0
    alone_s: float = 0.0
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class _Answered:
    """A call of the engine: what it was asked, what it said, and how long that took at best."""

    columns: Columns
    outputs: Columns
    took_s: float


def plan_batches(loaded: LoadedParts, tuning: Tuning, threads: int) -> None:
    """Give each model its batcher."""
    models = {id(each): each for each in (loaded.default, *loaded.by_key.values())}.values()
    for each in models:
        each.scorer.batch(plan_for(each, tuning, threads, _TRIAL_S / len(models)))


def plan_for(
    loaded: Loaded, tuning: Tuning, threads: int, trial_s: float = _TRIAL_S, clock: Clock | None = None
) -> Plan:
    """How this model's requests are put together. Takes `trial_s` and some calls, at most, by the `clock`."""
    found = _found(loaded, tuning, trial_s, clock or _clock(loaded.scorer, threads))
    if found.size == 1:
        return Plan(instances=tuning.instances or max(2, threads))
    instances = tuning.instances or 1
    return Plan(found.size, tuning.max_delay_s, instances, shares_cores=usable_cores() <= threads * instances)


def mixes_records(scorer: Scorer) -> bool:
    """Whether records that are run together are answered otherwise than each alone, or nothing shows that they are not.

    It does not depend on how long anything takes.
    """
    if scorer.signature.batch != "stack" or scorer.signature.format == "pmml":
        return False
    try:
        alone = _some_alone(scorer, time.perf_counter)
        together = [alone[index % len(alone)] for index in range(_MIXED)]
        _compared(scorer.run(_stacked([each.columns for each in together])), [each.outputs for each in together])
    except (Problem, Unstackable) as error:
        _say(scorer, f"runs each row alone: {error}")
        return True
    return False


def _found(loaded: Loaded, tuning: Tuning, trial_s: float, clock: Clock) -> Found:
    signature, scorer = loaded.scorer.signature, loaded.scorer
    # PMML4S takes one row after the other, whoever they belong to.
    if signature.batch != "stack" or signature.format == "pmml" or tuning.max_batch == 1:
        return Found()
    if tuning.max_batch is None and loaded.call_s < QUICK_S:
        return Found()
    deadline = clock() + trial_s + _TRIAL_CALLS * loaded.call_s
    try:
        found = _try_sizes(scorer, tuning.max_batch, deadline, clock)
    except (Problem, Unstackable, MemoryError) as error:
        _say(scorer, f"runs each request alone: {error}")
        return Found()
    if found.size > 1:
        alike = "the answers equal to the last bit" if found.is_exact else "the answers equal but for rounding"
        took = f"{found.each_s * 1000:.3g} ms each instead of {found.alone_s * 1000:.3g} ms"
        _say(scorer, f"runs up to {found.size} records together, {took}, {alike}")
    return found


def _say(scorer: Scorer, text: str) -> None:
    name = "/".join(filter(None, (scorer.identity.name, scorer.identity.part)))
    sys.stderr.write(f"{name} {text}\n")


def _try_sizes(scorer: Scorer, wanted: int | None, deadline: float, clock: Clock) -> Found:
    """Raises what `scorer.run` does, and `Unstackable`."""
    alone = _some_alone(scorer, clock)
    largest = max(_bytes_of(alone[0].columns), _bytes_of(alone[0].outputs), 1)
    best = start = Found(1, alone[0].took_s, alone[0].took_s)
    tried, is_exact = [start], True
    for size in _SIZES if wanted is None else (wanted,):
        fits = size * largest <= _MOST_BYTES
        if wanted is None and (not fits or clock() + best.each_s * size > deadline):
            break
        given = size if fits else max(2, _MOST_BYTES // largest)
        expected = [alone[index % len(alone)] for index in range(given)]
        together = _timed(scorer, _stacked([each.columns for each in expected]), clock)
        is_exact &= _compared(together.outputs, [each.outputs for each in expected])
        each_s = together.took_s / given
        tried.append(Found(size, each_s, start.each_s, is_exact))
        if wanted is not None or each_s < best.each_s * _WORTH_DOUBLING:
            best = tried[-1]
        elif size > 2 * best.size:
            break  # one size that is no better may be followed by one that is
    if wanted is not None:
        return best
    # Once more, as it may have been the machine that was slow before.
    alone_s = min(start.each_s, _timed(scorer, alone[0].columns, clock).took_s) if best.size > 1 else start.each_s
    if alone_s - best.each_s <= max(alone_s * _WORTH, HOP_S):
        return Found()
    # A batch takes no more than what is there, so room for more costs nothing, and leaves nobody for the next one.
    as_good = [found for found in tried if found.each_s * _WORTH_DOUBLING <= best.each_s]
    return replace(as_good[-1], alone_s=alone_s, is_exact=is_exact)


def _timed(scorer: Scorer, columns: Columns, clock: Clock) -> _Answered:
    """Asked a few times, as the first of a size is slower."""
    taken_s: list[float] = []
    while len(taken_s) < _TRIES and sum(taken_s) < _TRY_AGAIN_S:
        begun = clock()
        outputs = scorer.run(columns)
        taken_s.append(clock() - begun)
    return _Answered(columns, outputs, min(taken_s))


def _clock(scorer: Scorer, threads: int) -> Clock:
    """Of the processor where the engine takes nothing but this thread: on a busy machine a long call never has a
    processor for itself, which would speak against large batches."""
    is_here = scorer.signature.format == "onnx" and scorer.execution_provider == CPU and threads == 1
    return time.thread_time if is_here else time.perf_counter


def _some_alone(scorer: Scorer, clock: Clock) -> list[_Answered]:
    """Some records that the model answers, as different as the sample allows. Raises `Unstackable` for want of any."""
    for sample in candidate_samples(scorer.signature):
        try:
            record = scorer.validator.question({"inputs": sample}).calls[0]
            found = [_timed(scorer, record, clock)]
        except Problem:
            continue
        for step in (1, 2):
            with suppress(Problem):
                found.append(_timed(scorer, _varied(record, step, scorer.signature), clock))
        if not any(_differ(each.columns, found[0].columns) for each in found):
            raise Unstackable("it answers no record but its sample, so that nothing shows whether it mixes them up")
        return found
    raise Unstackable("its inputs are too large to make some")


def _varied(record: Columns, step: int, signature: Signature) -> Columns:
    """The record with other values in it: of those that the signature allows, where it says which there may be."""
    varied = dict(record)
    for field in signature.inputs:
        if field.values:
            varied[field.name] = _chosen(record[field.name], field.values, step)
        elif field.intervals is None:
            varied[field.name] = _moved(record[field.name], step)
    return varied


def _chosen(column: NDArray[np.generic], values: Sequence[Scalar], step: int) -> NDArray[np.generic]:
    """The column with other ones of these in it, beginning with another one at each step."""
    chosen = [values[(step + place) % len(values)] for place in range(column.size)]
    return np.array(chosen, column.dtype).reshape(column.shape)


def _differ(one: Columns, other: Columns) -> bool:
    return any(not np.array_equal(column, other[name]) for name, column in one.items())


def _moved(column: NDArray[np.generic], step: int) -> NDArray[np.generic]:
    """The column with each value changed in its own way: a common factor would escape a model that takes it out again.

    A model that finds the scale of its numbers in the batch (dynamic quantization) is found out by numbers of others.
    """
    chance, kind = np.random.default_rng(step), column.dtype.kind
    if kind == "f":
        factors, numbers = chance.uniform(0.5, 2.0, column.shape) * 4.0**step, column.astype(np.float64)
        with np.errstate(over="ignore"):
            return np.where(numbers == 0, factors, numbers * factors).astype(column.dtype)
    if kind in "iu":  # which may be places in a table: never far up
        ups, downs = (chance.integers(0, step, column.shape, endpoint=True).astype(column.dtype) for _ in range(2))
        return np.asarray(np.where(column == 0, ups, column - np.minimum(downs, np.abs(column))))
    if kind == "b":
        return chance.integers(0, 2, column.shape).astype(np.bool_)
    return np.array([f"{text} {'abc'[step % 3]}" for text in column.reshape(-1)], column.dtype).reshape(column.shape)


def _stacked(records: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([record[name] for record in records]) for name in records[0]}


def _compared(outputs: Columns, alone: Sequence[Columns]) -> bool:
    """Whether every bit is the same. Raises `Unstackable` where the outputs are not those of the records one by one."""
    is_exact = True
    for name, column in outputs.items():
        if not column.ndim or len(column) != len(alone):
            raise Unstackable(f"its output {name!r} of {len(alone)} records has the shape {list(column.shape)}")
        one = (1, *column.shape[1:])
        if any(each[name].shape != one for each in alone):
            raise Unstackable(f"its output {name!r} of one record is not {list(one)}")
        expected = np.concatenate([each[name] for each in alone])
        if not _is_close(column, expected):
            raise Unstackable(f"its output {name!r} is another one when records are run together")
        is_exact &= column.dtype.kind != "f" or column.tobytes() == expected.tobytes()
    return is_exact


def _is_close(given: NDArray[np.generic], expected: NDArray[np.generic]) -> bool:
    if given.dtype.kind != "f":
        return bool((given == expected).all())
    numbers, wanted = given.astype(np.float64), expected.astype(np.float64)
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return np.allclose(numbers, wanted, rtol=_CLOSE, atol=_CLOSE * scale * 0.01, equal_nan=True)


def _bytes_of(columns: Mapping[str, NDArray[np.generic]]) -> int:
    return sum(column.nbytes for column in columns.values())
