"""Predictions: send a durable submission to a replica of its service and keep the answer."""

import json
import random
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2

from core.clock import now_micros
from core.errors import NotFound, PlatformError, ReplicaUnavailable
from state.queries.predictions import Destination, destination
from state.tables import Prediction
from storage.digests import Digest
from workers.outcomes import Done, Failed, Outcome, Retry, Wait
from workers.resources import Held, Resources

RESTING = ("paused", "failed", "deleting", "deleted")  # no replica will come by itself
LOOK_AGAIN = timedelta(seconds=0.5)
PREDICT_TIMEOUT_S = 600.0
PATIENCE_S = 600.0  # how long a prediction waits for a replica of a service that should have one
PASSING = (502, 503, 504)


class ServiceGone(NotFound):
    """The service was deleted, paused or has failed since the prediction was accepted."""

    status, code, title = 409, "service_not_running", "The service is not running"


async def predict(held: Held, resources: Resources) -> Outcome:
    """Ask a ready replica; wait while there is none and one should come."""
    row = held.row
    assert isinstance(row, Prediction)
    async with resources.database.read() as session:
        where = await destination(session, row.service_id)
    if where.status in RESTING:
        return _failed(ServiceGone(f"service '{where.name}' is {where.status}").as_problem())
    if not where.addresses:
        return _wait(row, where)
    body = await _body(row, resources)
    started = time.monotonic()
    try:
        response = await _post(random.choice(where.addresses), body)  # noqa: S311 - spreads load, guards nothing
    except httpx2.TimeoutException:
        return _failed(ReplicaUnavailable(f"the model did not answer within {PREDICT_TIMEOUT_S:g} s").as_problem())
    except httpx2.TransportError as error:
        return Retry(f"the replica broke off: {type(error).__name__}", after=timedelta(seconds=0.2))
    took_s = time.monotonic() - started
    if response.status_code == 200:
        return Done(row={"output": json.loads(response.content)["outputs"], "predict_time_s": took_s})
    if response.status_code in PASSING:
        return _wait(row, where)
    return _failed({**json.loads(response.content), "instance": f"/api/v1/predictions/{row.id}"})


def _wait(row: Prediction, where: Destination) -> Outcome:
    if now_micros() - row.created_at > PATIENCE_S * 1_000_000:
        return _failed(ReplicaUnavailable(f"service '{where.name}' had no ready replica in time").as_problem())
    return Wait(LOOK_AGAIN, f"service '{where.name}' is {where.status}: no replica is ready")


async def _body(row: Prediction, resources: Resources) -> bytes:
    if row.body_digest is None:
        return json.dumps(row.body).encode()
    return b"".join([piece async for piece in resources.store.open(Digest.parse(row.body_digest))])


async def _post(address: str, body: bytes) -> httpx2.Response:
    parts = urlsplit(address)
    socket = parts.path if parts.scheme == "unix" else None
    url = "http://replica/predict" if socket else f"{address}/predict"
    # Replicas speak plain HTTP: loading certificates for nothing would hold the event loop for 100 ms.
    transport = httpx2.AsyncHTTPTransport(uds=socket, verify=False)
    async with httpx2.AsyncClient(transport=transport, timeout=PREDICT_TIMEOUT_S, trust_env=False) as client:
        return await client.post(url, content=body, headers={"content-type": "application/json"})


def _failed(problem: dict[str, Any]) -> Failed:
    return Failed(problem, row={"error": str(problem.get("detail", PlatformError.title)), "problem": problem})
