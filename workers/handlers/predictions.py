"""Predictions: send a durable submission to a replica of its service and keep the answer."""

import json
import random
import time
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2

from core.clock import now_micros
from core.errors import InvalidField, NotFound, PlatformError, ReplicaUnavailable
from core.failpoints import failpoint
from state.queries.predictions import Destination
from state.tables import Prediction
from storage.digests import Digest
from workers.files import with_files
from workers.outcomes import Done, Failed, Outcome, Retry, Wait
from workers.replica_client import PREDICT_TIMEOUT_S
from workers.resources import Held, Resources

RESTING = ("paused", "failed", "deleting", "deleted")  # no replica will come by itself
LOOK_AGAIN = timedelta(seconds=0.5)
PATIENCE_S = 600.0  # how long a prediction waits for a replica of a service that should have one
FILE_MARK = b'"$file"'  # most inputs name no file, and are not looked through
BROKEN_OFF = 502
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
        return _wait(row, where, resources)
    try:
        body = await _body(row, resources)
    except InvalidField as error:
        return _failed(error.as_problem())
    failpoint("before_effect")
    started = time.monotonic()
    replica = random.choice(where.replicas)  # noqa: S311 - spreads load, guards nothing
    count = partial(resources.traffic.count, row.tenant_id, row.service_id, replica.id)
    try:
        token = resources.vault.replica_token(replica.id)
        response = await resources.replicas.predict(replica.address, token, body)
    except (httpx2.ConnectError, httpx2.ConnectTimeout):
        # Nobody took it: a replica that died a moment ago, and whose row does not say so yet. No attempt was made.
        return _wait(row, where, resources)
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
    if response.status_code == 200:
        return Done(row={"output": json.loads(response.content)["outputs"], "predict_time_s": took_s})
    if response.status_code in PASSING:
        return _wait(row, where, resources)
    return _failed({**json.loads(response.content), "instance": f"/api/v1/predictions/{row.id}"})


def _wait(row: Prediction, where: Destination, resources: Resources) -> Outcome:
    if now_micros() - row.created_at > PATIENCE_S * 1_000_000:
        resources.traffic.count(row.tenant_id, row.service_id, None, ReplicaUnavailable.status, 0.0)
        return _failed(ReplicaUnavailable(f"service '{where.name}' had no ready replica in time").as_problem())
    return Wait(LOOK_AGAIN, f"service '{where.name}' is {where.status}: no replica is ready")


async def _body(row: Prediction, resources: Resources) -> bytes:
    """The input as JSON. Raises `InvalidField` where a file that it names is gone."""
    if row.body_digest is None:
        body, document = json.dumps(row.body).encode(), row.body
    else:
        body = b"".join([piece async for piece in resources.store.open(Digest.parse(row.body_digest))])
        document = json.loads(body) if FILE_MARK in body else None
    if FILE_MARK not in body or document is None:
        return body
    return json.dumps(await with_files(document, row.tenant_id, resources)).encode()


def _failed(problem: dict[str, Any]) -> Failed:
    return Failed(problem, row={"error": str(problem.get("detail", PlatformError.title)), "problem": problem})
