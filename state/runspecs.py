"""What a target is asked to run for a run: the pinned things that `runs.resolved` names, and under which fence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from state.jobtables import Run

DEFAULT_CPU = 1.0


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything a target needs for one try of a run. `attempt` counts the tries that its policy allows, from 0.

    `batch` is what is scored, how and with what: digests and no names, so that every process of it does the same; a
    `script` is what is run instead.
    """

    run_id: str
    tenant_id: str
    generation: int
    attempt: int
    job_id: str
    job: str
    number: int
    name: str
    kind: str
    cpu: float
    memory_mb: int | None
    env_sealed: str | None
    batch: Mapping[str, Any]
    script: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, object]:
        """As the row keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, object]) -> Self:
        """From the row."""
        return cls(**kept)  # type: ignore[arg-type]  # as `as_json` wrote them


def run_spec(run: Run, generation: int) -> RunSpec:
    """What is wanted for a run whose things are pinned, under the generation of the operation that wants it."""
    assert run.resolved is not None, f"{run.id} is not resolved"
    resources: Mapping[str, Any] = run.spec.get("resources") or {}
    return RunSpec(
        run_id=run.id,
        tenant_id=run.tenant_id,
        generation=generation,
        attempt=run.retries,
        job_id=run.job_id,
        job=run.job_name,
        number=run.number,
        name=run.name,
        kind=run.kind,
        cpu=float(resources.get("cpu") or DEFAULT_CPU),
        memory_mb=resources.get("memory_mb"),
        env_sealed=run.env_sealed,
        batch=run.resolved if run.kind == "batch" else {},
        script=run.resolved if run.kind == "script" else None,
    )
