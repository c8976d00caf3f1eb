"""Runs the plan: round after round over all cells, so that what else the machine does hits all of them alike."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.peers.contenders import Contender, Sample
from benchmarks.peers.plan import Bar, Workload
from benchmarks.platform import Broken


@dataclass(slots=True)
class Results:
    """The samples of each cell by its rounds, a cell being a workload and a peer, and why some are missing."""

    samples: dict[tuple[str, str], dict[int, Sample]] = field(default_factory=lambda: defaultdict(dict))
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def greatest_per_s(self, workload: str, peer: str) -> float | None:
        """The most that a peer has answered so far: what its half is taken of."""
        found = self.samples.get((workload, peer))
        return median(sample.per_s for sample in found.values()) if found else None

    def figure(self, bar: Bar) -> float | None:
        """The median over the rounds, each of which compares what was measured seconds apart."""
        ours, theirs = (self.samples.get((bar.workload, peer), {}) for peer in (bar.peer, bar.against))
        compared = [
            bar.compare(float(getattr(ours[number], bar.measure)), float(getattr(theirs[number], bar.measure)))
            for number in ours
            if number in theirs
        ]
        return median(compared) if compared else None


def run(
    workloads: Sequence[Workload],
    contenders: Mapping[str, Contender],
    rounds: int,
    seconds: float,
    missing: Mapping[str, str],
) -> Results:
    """Measure all cells in every round, after one to warm up; a cell that fails is tried again in the next.

    `missing` are peers that could not be started, and why.
    """
    results = Results()
    for workload in workloads:
        results.failures |= {(workload.name, peer): missing[peer] for peer in workload.peers if peer in missing}
    steady = [workload for workload in workloads if workload.share is None]
    paced = [workload for workload in workloads if workload.share is not None]
    for chosen in (steady, paced):  # a share is of a rate that must be known
        for number in range(rounds + 1):
            for workload in chosen:
                _measure_all(workload, contenders, results, seconds if number else workload.warm_up_s, number)
            if chosen and number:
                print(f"round {number} of {rounds}: {', '.join(workload.name for workload in chosen)}", flush=True)
    return results


def middle(samples: Iterable[Sample]) -> Sample:
    """Each figure's median."""
    samples = list(samples)
    return Sample(
        median(sample.per_s for sample in samples),
        median(sample.p50_us for sample in samples),
        median(sample.p99_us for sample in samples),
        median(sample.processor_us for sample in samples),
        round(median(sample.resident_bytes for sample in samples)),
    )


def _measure_all(
    workload: Workload, contenders: Mapping[str, Contender], results: Results, seconds: float, number: int
) -> None:
    for peer in workload.peers:
        if peer not in contenders:
            continue
        cell = workload.name, peer
        try:
            sample = contenders[peer].measure(workload, seconds, _rate(workload, peer, results))
        except Broken as error:
            if number:
                results.failures[cell] = f"{error} (round {number})"
            continue
        if number:
            results.samples[cell][number] = sample


def _rate(workload: Workload, peer: str, results: Results) -> float | None:
    """The rate at which a workload is sent; none: as fast as it goes. Raises `Broken` where it cannot be known."""
    if workload.share is None:
        return None
    greatest = results.greatest_per_s(workload.ask, peer)
    if greatest is None:
        raise Broken("its greatest rate is not known")
    return workload.share * greatest
