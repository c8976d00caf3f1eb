"""The Prometheus text format (version 0.0.4) by hand: families of samples, each family told once for all models.

A client library would cost the replica more to start than all that is told here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """One metric: its name, what it tells, and its samples."""

    name: str
    kind: Kind
    about: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, labels: Labels, suffix: str = "") -> None:
        """One sample."""
        told = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        self.lines.append(f"{self.name}{suffix}{f'{{{told}}}' if told else ''} {_number(value)}")

    def add_histogram(self, edges: Sequence[float], counts: Sequence[int], total: float, labels: Labels) -> None:
        """One histogram: `counts` has one more than `edges`, for what is above the last of them."""
        reached = 0
        for edge, count in zip([*map(_number, edges), "+Inf"], counts, strict=True):
            reached += count
            self.add(reached, {**labels, "le": edge}, "_bucket")
        self.add(total, labels, "_sum")
        self.add(reached, labels, "_count")


class Exposition:
    """Families in the order in which they were first asked for."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def family(self, name: str, kind: Kind, about: str) -> Family:
        """The family of this name, made if it is new."""
        return self._families.setdefault(name, Family(name, kind, about))

    def text(self) -> str:
        """All of it."""
        lines: list[str] = []
        for family in self._families.values():
            lines += [f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {family.kind}", *family.lines]
        return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
