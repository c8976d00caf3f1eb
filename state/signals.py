"""What a committed transaction changed, told to whoever listens in this process (the in-process LISTEN/NOTIFY).

A signal hurries and never decides: losing one costs a poll interval, nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

SignalKind = Literal["work", "later", "changed", "routing", "placement"]


@dataclass(frozen=True, slots=True)
class Signal:
    """`work`: a row is due in lane `name`, `later`: will be; `changed`: a resource of type `name`; `routing`,
    `placement`: look again."""

    kind: SignalKind
    name: str = ""
    id: str = ""


Listener = Callable[[frozenset[Signal]], None]
