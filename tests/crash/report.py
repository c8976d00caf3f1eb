"""What a campaign has done and found, as a table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from core.failpoints import POINTS


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold, and how to see it again."""

    seed: int
    round: int
    invariant: str
    words: str
    faults: tuple[str, ...]
    folder: Path

    def __str__(self) -> str:
        again = f"SEED={self.seed} FIRST={self.round} ROUNDS=1"
        return f"{self.invariant}: {self.words} [{again}; {', '.join(self.faults)}; {self.folder}]"


@dataclass
class Report:
    """Grows with each round."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    hits: dict[str, Counter[str]] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    checked: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    running_again_s: list[float] = field(default_factory=list)
    of_sites: dict[str, Counter[str]] = field(default_factory=dict)  # what campaigns over several count for each

    @property
    def killed(self) -> int:
        return sum(self.kills.values())

    @property
    def points(self) -> Counter[str]:
        """How often each failpoint acted."""
        return sum(self.hits.values(), Counter())

    def lines(self) -> Iterator[str]:
        """The table."""
        yield f"{self.rounds} rounds, {self.killed} kills, {sum(self.acknowledged.values())} acknowledged requests"
        yield ""
        yield "| fault | times |"
        yield "|---|---|"
        yield from (f"| {name} | {count} |" for name, count in sorted(self.faults.items()))
        yield ""
        yield "| killed | times |"
        yield "|---|---|"
        by_role: Counter[str] = Counter()
        for name, count in self.kills.items():
            role, _, how = name.partition(" ")
            by_role[f"{role}, {'at a failpoint' if how.startswith('at ') else how}"] += count
        yield from (f"| {name} | {count} |" for name, count in sorted(by_role.items()))
        yield ""
        yield from self._of_sites()
        yield "| failpoint | acted | missed |"
        yield "|---|---|---|"
        yield from (f"| {name} | {self.points[name]} | {self.missed[name]} |" for name in POINTS)
        yield ""
        yield "| invariant | checked | violations |"
        yield "|---|---|---|"
        found = Counter(each.invariant for each in self.violations)
        yield from (f"| {name} | {count} | {found[name]} |" for name, count in self.checked.items())
        yield ""
        yield "| time | p50 | max | count |"
        yield "|---|---|---|---|"
        yield _times("from the death of an API process to /readyz 200", self.down_s)
        yield _times("from the death of who worked to working again", self.running_again_s)
        yield _times("from the last fault to rest", self.settled_s)
        yield ""
        yield from (f"VIOLATION {each}" for each in self.violations)

    def _of_sites(self) -> Iterator[str]:
        if not self.of_sites:
            return
        names = sorted({name for counts in self.of_sites.values() for name in counts})
        yield f"| site | {' | '.join(names)} |"
        yield "|---" * (len(names) + 1) + "|"
        for site, counts in self.of_sites.items():
            yield f"| {site} | {' | '.join(str(counts[name]) for name in names)} |"
        yield ""


def _times(what: str, seconds: Sequence[float]) -> str:
    if not seconds:
        return f"| {what} | | | 0 |"
    return f"| {what} | {median(seconds):.2f} s | {max(seconds):.2f} s | {len(seconds)} |"
