"""What a replica tells Prometheus of itself: of each model, of what waits for it, and of the process."""

import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from serving.crew import Crew
from serving.exposition import CONTENT_TYPE, Exposition
from serving.room import Room
from serving.score import Scorer

__all__ = ["CONTENT_TYPE", "exposed"]
_STATM = Path("/proc/self/statm")


class Served(Protocol):
    """What is looked at."""

    @property
    def scorer(self) -> Scorer:
        """The model."""
        ...

    @property
    def crew(self) -> Crew:
        """Who answers for it."""
        ...


def exposed(service: str, served: Mapping[str, Served], room: Room) -> bytes:
    """The text for Prometheus. Where there are parts, the default one is told as itself only."""
    exposition = Exposition()
    for part, model in served.items():
        if part or len(served) == 1:
            labels = {"service": service, "part": part}
            model.scorer.statistics.expose(exposition, labels)
            _expose_line(exposition, model, labels)
    bodies = exposition.family("portside_server_body_bytes", "gauge", "Large request bodies in memory.")
    bodies.add(room.taken_bytes, {})
    unread = exposition.family("portside_server_unread_requests", "gauge", "Requests whose bodies wait for room.")
    unread.add(room.waiting, {})
    _expose_process(exposition)
    return exposition.text().encode()


def _expose_line(exposition: Exposition, model: Served, labels: Mapping[str, str]) -> None:
    crew, plan = model.crew, model.crew.batcher.plan
    waiting = exposition.family("portside_model_waiting_requests", "gauge", "Requests in line for the engine.")
    waiting.add(crew.waiting, labels)
    running = exposition.family("portside_model_running_requests", "gauge", "Requests that the engine answers now.")
    running.add(crew.batcher.running, labels)
    most = exposition.family("portside_model_batch_limit", "gauge", "The most records that are run together.")
    most.add(plan.max_records, labels)


def _expose_process(exposition: Exposition) -> None:
    exposition.family("process_cpu_seconds_total", "counter", "CPU time of this process.").add(time.process_time(), {})
    exposition.family("process_resident_memory_bytes", "gauge", "Its resident memory.").add(resident_bytes(), {})


def resident_bytes() -> int:
    """The resident memory; where the system does not tell, the most that there was."""
    if _STATM.exists():
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
