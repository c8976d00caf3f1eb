"""What scripts report of their work: figures with a step, numbered in the order in which they came; how far one is.

It comes from strangers, by a pipe or by a request: all of it is checked here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, insert, select

from core.clock import Micros, now_micros
from core.errors import Conflict, Json
from state.database import Session, WriteSession
from state.jobtables import Run, RunProcess, RunReport

MOST_REPORTS: Final = 100_000  # of one run; what comes after is not kept
SHOWN: Final = 1000
MOST_VALUES, LONGEST_NAME, LONGEST_TEXT, LONGEST_DETAIL = 100, 100, 1000, 200
LARGEST_STEP: Final = 2**53


class RunNotRunning(Conflict):
    """Only a run whose script runs now has something to report."""

    code, title = "run_not_running", "The run is not running"


@dataclass(frozen=True, slots=True)
class Report:
    """Figures and words that were reported at once."""

    values: Mapping[str, Any]
    step: int | None = None
    at: Micros | None = None


@dataclass(frozen=True, slots=True)
class Far:
    """How far the script says it is."""

    percent: float
    detail: str | None

    def as_progress(self) -> dict[str, Json]:
        """As `run_processes.progress` has it."""
        return {"percent": self.percent, "detail": self.detail}


class NoReport(ValueError):
    """It is not a report; the sentence says why."""


def reported(document: object) -> "Report | Far":
    """What a document of a script reports. Raises `NoReport`."""
    if not isinstance(document, Mapping):
        raise NoReport("it is no JSON object")
    if document.get("type") == "progress":
        return _far(document)
    if document.get("type", "metrics") != "metrics":
        raise NoReport("its type is neither 'metrics' nor 'progress'")
    return Report(_values(document.get("values")), _step(document.get("step")))


async def add_reports(session: WriteSession, run_id: str, reports: Sequence[Report], epoch: int | None = None) -> int:
    """Keep reports in their order, as far as there is room; answers how many are kept.

    With an `epoch` only while the process of that start is the run's. Raises `RunNotRunning`.
    """
    await _hold(session, run_id, epoch)
    last = await session.scalar(select(func.max(RunReport.sequence)).where(RunReport.run_id == run_id)) or 0
    room = max(0, MOST_REPORTS - last)
    now = now_micros()
    rows = [
        {
            "run_id": run_id,
            "sequence": last + 1 + at,
            "at": each.at or now,
            "step": each.step,
            "values": dict(each.values),
        }
        for at, each in enumerate(reports[:room])
    ]
    if rows:
        await session.execute(insert(RunReport), rows)
        session.tell("changed", "run_report", run_id)
    return len(rows)


async def note_far(session: WriteSession, run_id: str, far: Mapping[str, Json], epoch: int | None = None) -> None:
    """Remember how far a script says it is. Raises `RunNotRunning`."""
    process = await _hold(session, run_id, epoch)
    process.progress = {**(process.progress or {}), **far}
    process.seen_at = now_micros()


async def reports_of(session: Session, run_id: str, after: int = 0, limit: int = SHOWN) -> list[RunReport]:
    """What a run reported, from behind a number on."""
    query = select(RunReport).where(RunReport.run_id == run_id, RunReport.sequence > after)
    return list(await session.scalars(query.order_by(RunReport.sequence).limit(limit)))


async def last_report(session: Session, run_id: str) -> int:
    """The number of the newest report; 0 before the first."""
    return await session.scalar(select(func.max(RunReport.sequence)).where(RunReport.run_id == run_id)) or 0


async def _hold(session: WriteSession, run_id: str, epoch: int | None) -> RunProcess:
    """The row of the run's process, locked: numbers are given one after the other."""
    query = select(RunProcess).where(RunProcess.run_id == run_id).with_for_update()
    found = (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if found is None or found.pid is None or (epoch is not None and found.epoch != epoch):
        run = await session.get(Run, run_id)
        what = run_id if run is None else f"run {run.number} of job '{run.job_name}'"
        raise RunNotRunning(f"{what} has no process now; only a running script reports")
    return found


def _far(document: Mapping[str, Any]) -> Far:
    percent, detail = document.get("percent"), document.get("detail")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise NoReport("percent is a number from 0 to 100")
    if detail is not None and not isinstance(detail, str):
        raise NoReport("detail is text")
    return Far(float(percent), None if detail is None else _clean(detail)[:LONGEST_DETAIL])


def _step(given: object) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not -LARGEST_STEP <= given <= LARGEST_STEP:
        raise NoReport("step is a whole number")
    return given


def _values(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise NoReport("values is an object with a name and a value at least")
    if len(given) > MOST_VALUES:
        raise NoReport(f"there are more than {MOST_VALUES} values")
    return {_clean(str(name))[:LONGEST_NAME]: _value(value) for name, value in given.items()}


def _value(given: object) -> Any:
    if isinstance(given, str):
        return _clean(given)[:LONGEST_TEXT]
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) > 2**63:
        return float(given) if abs(given) < 10**300 else str(given)[:LONGEST_TEXT]
    if given is None or isinstance(given, bool | int):
        return given
    if isinstance(given, float):
        return given if given - given == 0 else None  # 1e999 is read as infinity
    raise NoReport("a value is a number, text, true, false or null")


def _clean(text: str) -> str:
    """Without what no database keeps: NULs and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
