"""What one served model has done since it was loaded: counts and nanoseconds per stage, as Triton and Prometheus tell.

The path of a request only appends numbers to a list, which is atomic; they become sums and histograms by the thousand,
or when somebody looks.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from serving.exposition import Exposition

Stage = Literal["parse", "validate", "queue", "run", "encode"]
Numbers = NDArray[np.int64]
STAGES: Final[tuple[Stage, ...]] = ("parse", "validate", "queue", "run", "encode")
_OF_ANSWER: Final[tuple[tuple[int, Stage], ...]] = ((0, "parse"), (1, "validate"), (3, "encode"))
now = time.perf_counter_ns
# Powers of two: 1 microsecond to 34 seconds.
LEAST_BITS, MOST_BITS = 10, 35
_ANSWER, _ALONE, _RUN, _EXECUTION = 5, 2, 3, 4  # the numbers of one row
_MOST_NUMBERS = 16_384  # that wait to be counted, which costs half a microsecond each where they are few
# Of batch sizes, which are told one by one: beyond this, the next power of two.
_EXACT_SIZES = 128


class Histogram:
    """Whole numbers by powers of two. Not thread-safe."""

    def __init__(self, least_bits: int, most_bits: int) -> None:
        self._least, self._most = least_bits, most_bits
        self.counts: Numbers = np.zeros(most_bits - least_bits + 2, np.int64)
        self.total = 0

    @property
    def edges(self) -> list[int]:
        """The upper edges, each belonging to its bucket; above the last there is one bucket more."""
        return [1 << bits for bits in range(self._least, self._most + 1)]

    @property
    def count(self) -> int:
        """How many numbers there were."""
        return int(self.counts.sum())

    def add(self, values: Numbers) -> None:
        """Count these."""
        self.total += int(values.sum())
        bits = np.frexp(values - 0.5)[1]  # a power of two belongs to the bucket that ends with it
        buckets = np.clip(bits - self._least, 0, self._most - self._least + 1)
        self.counts += np.bincount(buckets, minlength=len(self.counts))


class Statistics:
    """Counts for one model. Thread-safe.

    A protocol tells `answered` from its own stamps of `now`, and who tells its problems to the client tells `failed`;
    what happens inside `scorer.run` is told by that and by the batcher:

        begun = now()
        asked = parse(body); parsed = now()
        columns = validate(asked); validated = now()
        outputs = scorer.run(columns); computed = now()
        answer = encode(outputs)
        statistics.answered(begun, parsed, validated, computed)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compiled: list[Callable[[], Numbers]] = []
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after the trials of a model that is just loaded. Not beside requests."""
        self._answers: list[int] = []
        self._at_once: list[int] = []
        self._alone: list[int] = []
        self._runs: list[int] = []
        self._executions: list[int] = []
        self._failures: list[int] = []
        self._wholes: list[int] = []
        self._histograms = {stage: Histogram(LEAST_BITS, MOST_BITS) for stage in STAGES}
        self._sizes = Histogram(0, 10)
        self._by_size: dict[int, list[int]] = {}  # executions and nanoseconds before, in and after the engine
        self._successes = self._success_ns = self._records = self._last = 0
        self._failed = self._failed_ns = self._quick = 0
        self._refused: dict[str, int] = {}

    def answered(self, begun: int, parsed: int, validated: int, computed: int) -> None:
        """One request was answered: stamps of `now` at its steps, the last of which ends now."""
        rows = self._answers
        rows.extend((begun, parsed, validated, computed, now()))
        if len(rows) >= _MOST_NUMBERS:
            self._fold()

    def answered_at_once(self, records: int, begun: int, parsed: int, validated: int, computed: int) -> None:
        """The same where nobody else tells of the one call of the engine, between `validated` and `computed`."""
        rows = self._at_once
        rows.extend((records, begun, parsed, validated, computed, now()))
        if len(rows) >= _MOST_NUMBERS:
            self._fold()

    def also_count(self, take: Callable[[], Numbers]) -> None:
        """Count what is answered by compiled code, too, which keeps the rows of `answered_at_once` itself until `take`
        takes them out of it."""
        self._compiled.append(take)

    def fold(self) -> None:
        """Count now what waits to be counted."""
        self._fold()

    def answered_whole(self, begun: int) -> None:
        """One request was answered whose steps nobody tells apart: it is in no histogram but those of the engine."""
        self._wholes.extend((begun, now()))
        if len(self._wholes) >= _MOST_NUMBERS:
            self._fold()

    def failed(self, begun: int) -> None:
        """One request ended with a problem, whoever was to blame."""
        self._failures.append(now() - begun)
        if len(self._failures) >= _MOST_NUMBERS:
            self._fold()

    def refused(self, reason: str) -> None:
        """One request (which also failed) did not get to the engine for lack of room or time."""
        with self._lock:
            self._refused[reason] = self._refused.get(reason, 0) + 1

    def ran_alone(self, records: int, run_ns: int) -> None:
        """The engine was called at once with the records of one request."""
        rows = self._alone
        rows.extend((records, run_ns))
        if len(rows) >= _MOST_NUMBERS:
            self._fold()

    def ran(self, records: int, asked: int, begun: int, ended: int) -> None:
        """The engine answered so many records of one request, which asked, and went to and came from it then."""
        rows = self._runs
        rows.extend((records, begun - asked, ended - begun))
        if len(rows) >= _MOST_NUMBERS:
            self._fold()

    def executed(self, records: int, before_ns: int, run_ns: int, after_ns: int) -> None:
        """The engine was called once with so many records, put together before and taken apart after."""
        rows = self._executions
        rows.extend((records, before_ns, run_ns, after_ns))
        if len(rows) >= _MOST_NUMBERS:
            self._fold()

    def entry(self, name: str, version: str) -> dict[str, object]:
        """One of Triton's `model_stats` (its statistics extension): parse and validate are its `compute_input`."""
        with self._lock:
            self._count()
            of = self._histograms
            parse, validate = of["parse"], of["validate"]
            return {
                "name": name,
                "version": version,
                "last_inference": self._last_inference_ms(),
                "inference_count": self._records,
                "execution_count": self._sizes.count,
                "inference_stats": {
                    "success": _spent(self._successes, self._success_ns),
                    "fail": _spent(self._failed, self._failed_ns),
                    "queue": _spent(of["queue"].count, of["queue"].total),
                    "compute_input": _spent(parse.count, parse.total + validate.total),
                    "compute_infer": _spent(of["run"].count, of["run"].total),
                    "compute_output": _spent(of["encode"].count, of["encode"].total),
                    "cache_hit": _spent(0, 0),
                    "cache_miss": _spent(0, 0),
                },
                "batch_stats": [
                    {
                        "batch_size": size,
                        "compute_input": _spent(count, before_ns),
                        "compute_infer": _spent(count, run_ns),
                        "compute_output": _spent(count, after_ns),
                    }
                    for size, (count, before_ns, run_ns, after_ns) in sorted(self._by_size.items())
                ],
                "response_stats": {},
                "memory_usage": [],
            }

    def expose(self, exposition: Exposition, labels: Mapping[str, str]) -> None:
        """Add the samples of this model, under these labels."""
        with self._lock:
            self._count()
            requests = exposition.family("portside_model_requests_total", "counter", "Requests by how they ended.")
            requests.add(self._successes, {**labels, "outcome": "answered"})
            requests.add(self._failed, {**labels, "outcome": "failed"})
            refused = exposition.family(
                "portside_model_refused_total",
                "counter",
                "Failed requests that no engine saw, for want of room or time.",
            )
            for reason in sorted({"overloaded", "prediction_timeout", "client_gone", *self._refused}):
                refused.add(self._refused.get(reason, 0), {**labels, "reason": reason})
            quick = exposition.family(
                "portside_model_compiled_total", "counter", "Requests that compiled code answered, of all answered."
            )
            quick.add(self._quick, labels)
            records = exposition.family("portside_model_records_total", "counter", "Records that the engine answered.")
            records.add(self._records, labels)
            seconds = exposition.family("portside_model_stage_seconds", "histogram", "Time of one request in one step.")
            for stage, histogram in self._histograms.items():
                edges = [edge / 1e9 for edge in histogram.edges]
                told = {**labels, "stage": stage}
                seconds.add_histogram(edges, histogram.counts.tolist(), histogram.total / 1e9, told)
            sizes = exposition.family("portside_model_batch_records", "histogram", "Records in one call of the engine.")
            sizes.add_histogram(self._sizes.edges, self._sizes.counts.tolist(), self._sizes.total, labels)

    def _last_inference_ms(self) -> int:
        """When the last request was answered, in milliseconds of the clock on the wall; 0 before the first."""
        return (time.time_ns() - now() + self._last) // 1_000_000 if self._last else 0

    def _fold(self) -> None:
        with self._lock:
            self._count()

    def _count(self) -> None:
        """Count all rows. Others append to the lists meanwhile, at their ends. The lock is held."""
        quick = [take() for take in self._compiled]
        self._quick += sum(map(len, quick))
        at_once = np.vstack((_taken(self._at_once, _ANSWER + 1), *quick))
        answers = np.vstack((_taken(self._answers, _ANSWER), at_once[:, 1:]))
        if len(answers):
            took = np.diff(answers)
            for column, stage in _OF_ANSWER:
                self._histograms[stage].add(took[:, column])
            self._successes += len(took)
            self._success_ns += int(took.sum())
            self._last = max(self._last, int(answers[:, -1].max()))
        at_once = np.column_stack((at_once[:, 0], at_once[:, 4] - at_once[:, 3]))
        alone, runs = np.vstack((_taken(self._alone, _ALONE), at_once)), _taken(self._runs, _RUN)
        for records, queued, took in ((alone[:, 0], alone[:, 0] * 0, alone[:, 1]), tuple(runs.T)):
            self._records += int(records.sum())
            self._histograms["queue"].add(queued)
            self._histograms["run"].add(took)
        executions = _taken(self._executions, _EXECUTION)
        executions = np.vstack((executions, np.insert(alone, (1, 2), 0, axis=1)))
        if len(executions):
            self._sizes.add(executions[:, 0])
            self._count_sizes(executions)
        wholes, failures = _taken(self._wholes, 2), _taken(self._failures, 1)
        self._successes += len(wholes)
        self._success_ns += int((wholes[:, 1] - wholes[:, 0]).sum())
        self._last = max(self._last, int(wholes.max(initial=0)))
        self._failed += len(failures)
        self._failed_ns += int(failures.sum())

    def _count_sizes(self, executions: Numbers) -> None:
        sizes = executions[:, 0]
        rounded = np.where(sizes > _EXACT_SIZES, 1 << np.frexp(sizes - 0.5)[1].astype(np.int64), sizes)
        for size in np.unique(rounded).tolist():
            alike = executions[rounded == size]
            counted = self._by_size.setdefault(size, [0, 0, 0, 0])
            for place, more in enumerate([len(alike), *alike[:, 1:].sum(axis=0).tolist()]):
                counted[place] += more


def _taken(rows: list[int], width: int) -> Numbers:
    """The complete rows of a list, taken out of it, as a table."""
    # Others append meanwhile: each of these two steps is atomic.
    taken = rows[: len(rows) // width * width]
    del rows[: len(taken)]
    return np.fromiter(taken, np.int64, len(taken)).reshape(-1, width)


def _spent(count: int, nanoseconds: int) -> dict[str, int]:
    return {"count": count, "ns": nanoseconds}
