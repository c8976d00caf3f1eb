"""Tries and what came of them: how a moment is chosen, and the table at the end of a campaign."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

Choice = TypeVar("Choice")


@dataclass
class Try:
    """One kill: at which stage, at which moment, and how soon the steady service answered again."""

    stage: str
    number: int
    seed: int
    allowed_s: float
    moment: str = ""
    first_answer_s: float = 0.0
    passed: bool = False

    @property
    def is_late(self) -> bool:
        """Whether the first answer took longer than it may."""
        return self.first_answer_s > self.allowed_s

    @property
    def chance(self) -> random.Random:
        """The same numbers for the same seed, stage and try."""
        return random.Random(f"{self.seed}/{self.stage}/{self.number}")

    @property
    def name(self) -> str:
        """Fits where the platform wants a name."""
        return f"{self.stage}-{self.number}-{self.seed % 10_000}"

    @property
    def salt(self) -> str:
        """What no other try has."""
        return f"{self.stage}/{self.number}/{self.seed}"

    def choose(self, choices: Mapping[str, Choice]) -> Choice:
        """Each in turn over the tries, from a random one on."""
        names = sorted(choices)
        self.moment = names[(self.seed + self.number) % len(names)]
        return choices[self.moment]


@dataclass
class Ledger:
    """All tries of this session."""

    tries: list[Try] = field(default_factory=list)

    def table(self) -> Sequence[str]:
        """A line per stage, then a line per moment that failed."""
        stages = dict.fromkeys(each.stage for each in self.tries)
        lines = [f"{'stage':<10} {'tries':>5} {'failures':>8} {'late':>5}   first answer: median, worst"]
        for stage in stages:
            tries = [each for each in self.tries if each.stage == stage]
            counts = (len(tries), sum(not each.passed for each in tries), sum(each.is_late for each in tries))
            times = sorted(each.first_answer_s for each in tries)
            shown = f"{times[len(times) // 2]:.2f} s, {times[-1]:.2f} s"
            lines.append(f"{stage:<10} {counts[0]:>5} {counts[1]:>8} {counts[2]:>5}   {shown}")
        failed = [each for each in self.tries if each.is_late or not each.passed]
        return [
            *lines,
            *(f"failed: {each.stage}, try {each.number}, {each.moment}, seed {each.seed}" for each in failed),
        ]


Begin = Callable[[str], AbstractContextManager[Try]]
