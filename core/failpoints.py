"""Named places at which a test makes a process die, stop or fail, to prove that nothing is lost there.

Inert unless PORTSIDE_FAILPOINTS arms one: `name=action@n` acts the n-th time that this process comes by, `@n+` each
time from then on. `@FILE` reads that from a file, again each time, so that a running process can be armed; whoever
takes the file away is who acts.
"""

import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast, get_args

POINTS: Mapping[str, str] = MappingProxyType(
    {
        "put_before_rename": "all bytes of an upload are written, and not yet where readers look",
        "blob_before_touch": "the bytes are in the store, and no row knows of them",
        "blob_before_version": "the blob has its row, and the version or prediction that refers to it has none",
        "commit_before_signal": "a transaction is committed, and nobody in this process has heard of it",
        "commit_before_answer": "a mutation is committed, and its client has no answer",
        "after_answer": "a mutation is answered",
        "before_nudge": "work is committed, and its wake-up is not sent",
        "after_claim": "work is claimed, and not begun",
        "before_effect": "a handler is about to change the world",
        "after_effect": "a handler has changed the world, and answered nothing",
        "before_final_commit": "the outcome is written, and not committed",
        "after_final_commit": "the outcome is committed, and the claim's slot is not free",
        "relay_before_send": "the relay has read what is due, and sent nothing",
        "rescue_before_commit": "the rescuer has queued a dead holder's work again, and not committed",
        "watch_before_commit": "the watcher is about to put a service right",
        "tick_before_commit": "the ticks of a job are decided, and not committed",
        "webhook_before_record": "the receiver has answered, and the delivery does not say so",
        "migration_step": "a schema revision is applied, and not committed",
        "migration_before_rows": "the schema is there, and the first rows are not",
        "node_before_spawn": "a replica has its row, and no process",
        "node_after_spawn": "a replica has its process, and the row does not name it",
        "node_before_record": "the node has seen a change of a replica, and not written it",
        "sweep_before_bury": "a blob's bytes are deleted, and its row is not",
        "run_before_pin": "a run has begun, and what it reads is not pinned",
        "run_before_spawn": "a run has its next epoch, and no process",
        "run_after_spawn": "a run has its process, and the row does not name it",
        "chunk_before_store": "a chunk is scored, and its bytes are not in the store",
        "chunk_before_commit": "the bytes of a chunk are in the store, and the ledger does not know of them",
        "chunk_before_ack": "a chunk is in the ledger, and its process does not know",
        "run_before_end": "a run's process has ended, and the row does not say so",
        "run_before_publish": "every chunk is in the ledger, and no dataset has them",
        "run_after_publish": "the dataset is there, and the run does not name it",
        "run_before_settle": "a run has ended, and its ledger is still there",
    }
)
Action = Literal["kill", "stop", "raise"]
FROM_FILE = "@"


class FailpointReached(Exception):
    """The failure that `raise` causes: like a bug that nobody expects."""


@dataclass(frozen=True, slots=True)
class Trap:
    """What to do the `count`-th time that a process comes by, or each time from then on."""

    action: Action
    count: int
    goes_on: bool = False

    def springs(self, passed: int) -> bool:
        """Whether it acts when a process has come by so often."""
        return passed == self.count or (self.goes_on and passed > self.count)


@dataclass(slots=True)
class _Armed:
    """The traps of this process and how often it came by; `source` is the file that may change them."""

    traps: Mapping[str, Trap]
    source: Path | None
    log: Path | None
    text: str = ""
    passed: Counter[str] = field(default_factory=Counter)

    def reached(self, name: str) -> None:
        if self.source is not None:
            self._read(self.source)
        trap = self.traps.get(name)
        if trap is None:
            return
        self.passed[name] += 1
        if trap.springs(self.passed[name]) and self._is_ours():
            self._act(name, trap.action)

    def _read(self, source: Path) -> None:
        try:
            text = source.read_text("utf-8")
        except FileNotFoundError:
            text = ""
        if text != self.text:
            self.text, self.traps = text, parse_traps(text)
            self.passed.clear()

    def _is_ours(self) -> bool:
        """One process acts for each time that the file is written, however many come by."""
        if self.source is None:
            return True
        try:
            self.source.unlink()
        except FileNotFoundError:
            return False
        return True

    def _act(self, name: str, action: Action) -> None:
        if self.log is not None:
            line = f"{name} {action} {os.getpid()}\n".encode()
            handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, line)  # at once: what is buffered dies with us
            os.close(handle)
        if action == "raise":
            raise FailpointReached(f"the failpoint {name} was armed")
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)


_armed: _Armed | None = None


def arm(points: str | None, log: Path | None = None) -> None:
    """Arm this process by the setting, or disarm it. Raises ValueError that names the word that is wrong."""
    global _armed
    if not points:
        _armed = None
    elif points.startswith(FROM_FILE):
        _armed = _Armed({}, Path(points.removeprefix(FROM_FILE)), log)
    else:
        _armed = _Armed(parse_traps(points), None, log)


def failpoint(name: str) -> None:
    """Here a test may make this process die: costs a look at one name otherwise."""
    if _armed is not None:
        _armed.reached(name)


def parse_traps(text: str) -> Mapping[str, Trap]:
    """`after_claim=kill@3,before_effect=raise`; what follows a `#` is the writer's own. Raises ValueError."""
    parts = [part.strip() for part in text.partition("#")[0].split(",")]
    return dict(_parse(part) for part in parts if part)


def _parse(part: str) -> tuple[str, Trap]:
    name, _, what = part.partition("=")
    action, _, count = what.partition("@")
    if name not in POINTS:
        raise ValueError(f"there is no failpoint '{name}'; there are {', '.join(POINTS)}")
    number = count.removesuffix("+") or "1"
    if action not in get_args(Action) or not number.isdecimal() or int(number) == 0:
        raise ValueError(f"'{part}' is no failpoint: write {name}=kill@1, with {' or '.join(get_args(Action))}")
    return name, Trap(cast(Action, action), int(number), count.endswith("+"))
