"""The environment variables that jobs and runs keep: sealed, bound to the job, merged without being shown.

A run has those of its job where it changes nothing, sealed as they are: no key is needed to start it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.secrets import Vault
from state.jobtables import Job, Run


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables as a row keeps them: sealed, and their names in the open."""

    sealed: str | None
    names: tuple[str, ...]


NOTHING = Environment(None, ())


def sealed_environment(vault: Vault, job_id: str, values: Mapping[str, str]) -> Environment:
    """Variables of a job, or of a run of it."""
    if not values:
        return NOTHING
    return Environment(vault.seal(json.dumps(dict(values)), _purpose(job_id)), tuple(sorted(values)))


def environment_of(row: Job | Run) -> Environment:
    """What a row keeps."""
    return Environment(row.env_sealed, tuple(row.env_names))


def variables_of(vault: Vault, row: Job | Run) -> dict[str, str]:
    """What a job gives to its runs, or a run to its process. Raises `SecretUnreadable`."""
    if row.env_sealed is None:
        return {}
    job_id = row.id if isinstance(row, Job) else row.job_id
    values: dict[str, str] = json.loads(vault.open(row.env_sealed, _purpose(job_id)))
    return values


def merged_environment(vault: Vault, job: Job, changes: Mapping[str, str | None]) -> Environment:
    """The job's variables with changes; None takes one away. Raises `SecretUnreadable`."""
    if not changes:
        return environment_of(job)
    values = {**variables_of(vault, job), **changes}
    return sealed_environment(vault, job.id, {name: value for name, value in values.items() if value is not None})


def _purpose(job_id: str) -> str:
    """What sealed variables are bound to."""
    return f"job:{job_id}"
