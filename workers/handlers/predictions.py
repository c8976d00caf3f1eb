"""Predictions: send a durable submission to a replica of its service and keep the answer."""

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import httpx2

from core.errors import InvalidField, NotFound, PlatformError, ReplicaUnavailable
from core.failpoints import failpoint
from state.queries.predictions import Destination
from state.tables import Prediction
from workers.outcomes import Done, Failed, Outcome, Retry, Wait
from workers.replica_client import PREDICT_TIMEOUT_S, Question
from workers.resources import Held, Resources
from workers.submitted import document, output_of, path_of, question_of, shown_input

RESTING = ("paused", "failed", "deleting", "deleted")  # no replica will come by itself
LOOK_AGAIN = timedelta(seconds=0.5)
PATIENCE_S = 600.0  # how long a prediction waits for a replica of a service that should have one
BROKEN_OFF = 502
NOTHING: Mapping[str, Any] = MappingProxyType({})
PASSING = (401, 502, 503, 504)  # 401: another replica has the address by now


class ServiceGone(NotFound):
    """The service was deleted, paused or has failed since the prediction was accepted."""

    status, code, title = 409, "service_not_running", "The service is not running"


async def predict(held: Held, resources: Resources) -> Outcome:
    """Ask a ready replica; wait while there is none and one should come."""
    row = held.row
    assert isinstance(row, Prediction)
    where = held.destination
    assert where is not None, "the claim of a prediction brings where it can be sent"
    if where.status in RESTING:
        resources.traffic.count(row.tenant_id, row.service_id, None, ServiceGone.status, 0.0)
        return _failed(ServiceGone(f"service '{where.name}' is {where.status}").as_problem())
    if not where.replicas:
        return _wait(held, row, where, resources)
    try:
        question = await question_of(row, resources)
    except InvalidField as error:
        return _failed(error.as_problem())
    return await _ask(held, where, resources, question)


async def _ask(held: Held, where: Destination, resources: Resources, question: Question) -> Outcome:
    row = held.row
    assert isinstance(row, Prediction)
    failpoint("before_effect")
    started = time.monotonic()
    replica = random.choice(where.replicas)  # noqa: S311 - spreads load, guards nothing
    count = partial(resources.traffic.count, row.tenant_id, row.service_id, replica.id)
    try:
        token = resources.vault.replica_token(replica.id)
        post = partial(resources.replicas.post, replica.address, token)
        response = await post(path_of(row), question)
    except (httpx2.ConnectError, httpx2.ConnectTimeout):
        # Nobody took it: a replica that died a moment ago, and whose row does not say so yet. No attempt was made.
        return _wait(held, row, where, resources)
    except httpx2.TimeoutException:
        count(ReplicaUnavailable.status, PREDICT_TIMEOUT_S)
        return _failed(ReplicaUnavailable(f"the model did not answer within {PREDICT_TIMEOUT_S:g} s").as_problem())
    except httpx2.TransportError as error:
        if held.claim.attempt >= resources.settings.max_attempts:  # there is no other one
            count(BROKEN_OFF, time.monotonic() - started)
        return Retry(f"the replica broke off: {type(error).__name__}", after=timedelta(seconds=0.2))
    took_s = time.monotonic() - started
    failpoint("after_effect")
    if response.status_code not in PASSING:  # those are asked again, and counted then
        count(response.status_code, took_s)
    if response.status_code in PASSING:
        return _wait(held, row, where, resources)
    shown = await shown_input(row, question, post, PREDICT_TIMEOUT_S - took_s)
    if response.status_code == 200:
        return Done(row={"output": output_of(row, document(response)), "predict_time_s": took_s, **shown})
    return _failed({**document(response), "instance": f"/api/v1/predictions/{row.id}"}, shown)


def _wait(held: Held, row: Prediction, where: Destination, resources: Resources) -> Outcome:
    if held.clock.now - (row.started_at or held.clock.now) > PATIENCE_S * 1_000_000:
        resources.traffic.count(row.tenant_id, row.service_id, None, ReplicaUnavailable.status, 0.0)
        return _failed(ReplicaUnavailable(f"service '{where.name}' had no ready replica in time").as_problem())
    return Wait(LOOK_AGAIN, f"service '{where.name}' is {where.status}: no replica is ready")


def _failed(problem: dict[str, Any], shown: Mapping[str, Any] = NOTHING) -> Failed:
    detail = str(problem.get("detail", PlatformError.title))
    return Failed(problem, row={**shown, "error": detail, "problem": problem})
