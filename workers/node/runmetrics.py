"""Figures about the runs that this node executes."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class RunMetrics:
    """What the supervisor of runs counts. Labels are words that the code knows: never a name or an id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._processes = Gauge("portside_run_processes", "Processes of runs.", registry=registry)
        self._waiting = Gauge(
            "portside_runs_waiting", "Runs that wait for a slot or for their next try.", registry=registry
        )
        self._starts = Counter("portside_run_starts", "Processes of runs that were started.", registry=registry)
        self._deaths = Counter(
            "portside_run_deaths", "Processes of runs that died without a verdict.", ("reason",), registry=registry
        )
        self._verdicts = Counter(
            "portside_run_verdicts", "How runs ended: finished, failed.", ("outcome",), registry=registry
        )
        self._chunks = Counter("portside_run_chunks", "Chunks that came into a ledger.", registry=registry)
        self._bytes = Counter("portside_run_chunk_bytes", "Bytes of these chunks.", registry=registry)
        self._rows = Counter("portside_run_rows", "Input rows of these chunks.", registry=registry)

    def looked(self, processes: int, waiting: int) -> None:
        """A look is over."""
        self._processes.set(processes)
        self._waiting.set(waiting)

    def started(self) -> None:
        """A process begins."""
        self._starts.inc()

    def died(self, reason: str) -> None:
        """A process ended unasked and said nothing; the reasons are a short list (see `endings`)."""
        self._deaths.labels(reason).inc()

    def judged(self, outcome: str) -> None:
        """A process has said how its run ends."""
        self._verdicts.labels(outcome).inc()

    def committed(self, size_bytes: int, rows: int) -> None:
        """A chunk is kept."""
        self._chunks.inc()
        self._bytes.inc(size_bytes)
        self._rows.inc(rows)
