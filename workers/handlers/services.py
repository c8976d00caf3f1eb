"""Services: bring what runs to what is wanted, level-triggered; each handler only compares and answers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from core.clock import now_micros
from core.errors import PlatformError, Rejected
from core.failpoints import failpoint
from state.placements import FINAL, StaleGeneration
from state.specs import ServiceSpec, live_spec, wanted_spec
from state.tables import Operation
from workers.node.plan import PLATFORM_REASONS
from workers.outcomes import Canceled, Done, Failed, Outcome, Progress, Wait
from workers.resources import Held, Resources
from workers.targets.base import SeenReplica

LOOK_AGAIN = timedelta(seconds=1)  # the watcher wakes us at once; this is for a lost signal
CRASHES_BEFORE_FAILURE = 3
HOPELESS = (
    "model_refused",
    "runtime_missing",
    "gpu_missing",
    "out_of_memory",
)  # another try with the same file and limits ends the same


class DeployFailed(Rejected):
    """The replicas never became ready."""

    code, title = "deploy_failed", "The service did not become ready"


class DeployTimeout(DeployFailed):
    """The replicas were not ready at the deadline."""

    code, title = "deploy_timeout", "The service did not become ready in time"


async def deploy(held: Held, resources: Resources) -> Outcome:
    """First deployment: done when every replica is ready; a failure leaves no process behind."""
    spec = await _wanted(held, resources)
    return await _bring_up(held, resources, spec, on_failure=None)


async def resume(held: Held, resources: Resources) -> Outcome:
    """Bring a paused service back; a failure leaves it paused."""
    spec = await _wanted(held, resources)
    return await _bring_up(held, resources, spec, on_failure=None)


async def update(held: Held, resources: Resources) -> Outcome:
    """Roll to another revision or size; a failure returns to the live revision and reverts the wish."""
    spec = await _wanted(held, resources)
    return await _bring_up(held, resources, spec, on_failure=await _live(held, resources))


async def restart(held: Held, resources: Resources) -> Outcome:
    """Replace every replica that is older than the request, or the one that it names.

    A failure keeps the old ones, and as many as there were.
    """
    wanted = await _wanted(held, resources)
    assert isinstance(held.row, Operation)
    named = held.row.arguments.get("replica")
    # Of the database's clock, as is when a replica was made: one ahead of it would replace also the new ones.
    since = held.row.started_at or held.clock.now
    fresh = replace(wanted, replacing=named) if named else replace(wanted, fresh_since=since)
    return await _bring_up(held, resources, fresh, on_failure=await _live(held, resources) or wanted)


async def pause(held: Held, resources: Resources) -> Outcome:
    """Free all processes and keep the service."""
    return await _take_down(held, resources, Done(result={}))


async def delete(held: Held, resources: Resources) -> Outcome:
    """Free all processes; the name is free again."""
    return await _take_down(held, resources, Done(result={}, target={"deleted_at": now_micros()}))


async def _wanted(held: Held, resources: Resources) -> ServiceSpec:
    async with resources.database.read() as session:
        return await wanted_spec(session, *_target(held))


async def _live(held: Held, resources: Resources) -> ServiceSpec | None:
    async with resources.database.read() as session:
        return await live_spec(session, *_target(held))


def _target(held: Held) -> tuple[str, int]:
    assert isinstance(held.row, Operation)
    return held.row.target_id, held.row.generation


async def _bring_up(held: Held, resources: Resources, spec: ServiceSpec, *, on_failure: ServiceSpec | None) -> Outcome:
    try:
        failpoint("before_effect")
        await resources.target.apply(spec, held.claim)
        failpoint("after_effect")
        seen = await resources.target.observe(spec.service_id)
        progress = _progress(spec, seen)
        # First: the workers may have been away for longer than the deadline while the node did all that was wanted.
        if isinstance(progress, Done):
            return progress
        problem = _failure(held, resources, spec, seen)
        if problem is None:
            return progress
        if on_failure is None:
            await resources.target.remove(spec.service_id, spec.generation, held.claim)
            return Failed(problem.as_problem())
        await resources.target.apply(on_failure, held.claim)
    except StaleGeneration as error:
        return Canceled(error.message)
    return Failed(problem.as_problem(), target={"revision_id": on_failure.revision_id, "replicas": on_failure.replicas})


def _progress(spec: ServiceSpec, seen: Sequence[SeenReplica]) -> Outcome:
    alive = [replica for replica in seen if replica.status not in FINAL]
    ready = [replica for replica in alive if _is_wanted(spec, replica) and replica.status == "ready"]
    if len(ready) >= spec.replicas and all(_is_wanted(spec, replica) for replica in alive):
        # A surplus replica that still drains does not keep a scale-down waiting.
        return Done(result={}, target={"live_revision_id": spec.revision_id, "live_replicas": spec.replicas})
    reason = f"{len(ready)} of {spec.replicas} replicas are ready"
    return Wait(LOOK_AGAIN, reason, Progress(_percent(spec, len(ready), len(alive)), "starting", reason))


def _percent(spec: ServiceSpec, ready: int, alive: int) -> int:
    """Half a share for a replica that has begun, a whole one for one that is ready; the rest is seen at the end."""
    begun = min(alive, spec.replicas)
    return 90 * (begun + ready) // (2 * spec.replicas) if spec.replicas else 90


def _is_wanted(spec: ServiceSpec, replica: SeenReplica) -> bool:
    is_fresh = replica.created_at >= spec.fresh_since and replica.id != spec.replacing
    return is_fresh and replica.revision_id == spec.revision_id


def _failure(held: Held, resources: Resources, spec: ServiceSpec, seen: Sequence[SeenReplica]) -> PlatformError | None:
    """Why this cannot succeed any more, or nothing: a refused model, repeated crashes, or time is up."""
    failed = [replica for replica in seen if _failed_by_itself(spec, replica)]
    newest_ready = max((replica.created_at for replica in seen if replica.status == "ready"), default=0)
    crashes = [replica for replica in failed if replica.created_at > newest_ready]
    refused = [replica for replica in crashes if replica.reason in HOPELESS]
    if refused or len(crashes) >= CRASHES_BEFORE_FAILURE:
        worst = (refused or crashes)[-1]
        return DeployFailed(
            f"service '{spec.service}' cannot start ({worst.reason}): {worst.message}",
            reason=worst.reason,
            last_lines=worst.message,
        )
    if held.clock.now - (held.row.started_at or held.clock.now) > resources.settings.deploy_timeout_s * 1_000_000:
        return DeployTimeout(f"service '{spec.service}' was not ready within {resources.settings.deploy_timeout_s:g} s")
    return None


def _failed_by_itself(spec: ServiceSpec, replica: SeenReplica) -> bool:
    ours = replica.reason in PLATFORM_REASONS
    return (
        replica.status == "failed" and not ours and replica.generation == spec.generation and _is_wanted(spec, replica)
    )


async def _take_down(held: Held, resources: Resources, done: Done) -> Outcome:
    service_id, generation = _target(held)
    try:
        failpoint("before_effect")
        await resources.target.remove(service_id, generation, held.claim)
        failpoint("after_effect")
    except StaleGeneration as error:
        return Canceled(error.message)
    alive = [replica for replica in await resources.target.observe(service_id) if replica.status not in FINAL]
    if not alive:
        return done
    reason = f"{len(alive)} replicas are still ending"
    return Wait(LOOK_AGAIN, reason, Progress(50, "stopping", reason))
