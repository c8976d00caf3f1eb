"""What clients were told: every acknowledgement, to be held against what the platform says later."""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from core.clock import now_micros

Document = Mapping[str, Any]
PATIENCE_S = 25.0
AGAIN = (503, 507)  # the platform says: not now
IN_PROGRESS = "idempotency_in_progress"
# A sweeper that died while it deleted keeps its bytes from everybody for a minute (`state.blobs.CONDEMNED_FOR`).
CONDEMNED = "being deleted here"


@dataclass(frozen=True)
class Request:
    """A mutation under an Idempotency-Key; `marks` says what it is about, for the checks."""

    method: str
    path: str
    body: bytes
    key: str
    content_type: str = "application/json"
    digest: str | None = None  # of an uploaded file
    marker: float | None = None  # the unique number in a prediction's input


@dataclass(frozen=True)
class Acknowledged:
    """A request that was answered with success, and the work that the answer names."""

    request: Request
    status: int
    work_id: str
    at: int  # when the answer had come, in microseconds: what is written later has seen what it tells


@dataclass(frozen=True)
class Refused:
    """A request that was answered with 4xx: nothing may have happened."""

    request: Request
    status: int
    code: str


@dataclass
class Ledger:
    """All that was answered by one installation, and what must never be answered."""

    sent: list[Request] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unanswered: list[Request] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # answers that are violations in themselves

    @property
    def ids(self) -> list[str]:
        return [each.work_id for each in self.acknowledged]


@dataclass
class Client:
    """A client as it should be: a key for each mutation, and the same request again until it is answered."""

    urls: list[str]
    ledger: Ledger
    chance: random.Random
    token: str | None = None
    tolerates_500: bool = False  # while a failpoint raises what nobody expects
    http: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        self.http = httpx2.AsyncClient(headers=headers, timeout=10, trust_env=False)

    async def change(self, request: Request) -> Acknowledged | None:
        """Send until there is an answer; the ledger learns it."""
        self.ledger.sent.append(request)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            response = await self.attempt(request)
            if response is not None and CONDEMNED in response.text:
                self.ledger.refused.append(Refused(request, response.status_code, "condemned"))
                return None
            if response is None or self._is_not_now(response):
                await asyncio.sleep(0.04 + 0.1 * self.chance.random())
                continue
            return self._learn(request, response)
        self.ledger.unanswered.append(request)
        return None

    def _learn(self, request: Request, response: httpx2.Response) -> Acknowledged | None:
        status = response.status_code
        # An operation that has failed meanwhile is shown as its problem: it was accepted all the same.
        if status < 400 or "operation-location" in response.headers:
            made = Acknowledged(request, status, work_id(response), now_micros())
            self.ledger.acknowledged.append(made)
            return made
        if status >= 500:
            self.ledger.wrong.append(f"{request.method} {request.path} answered {status}: {response.text[:300]}")
        else:
            self.ledger.refused.append(Refused(request, status, str(_body(response).get("code"))))
        return None

    async def attempt(self, request: Request) -> httpx2.Response | None:
        """One try at one of the addresses; None when the connection broke."""
        headers = {"idempotency-key": request.key, "content-type": request.content_type}
        url = self.chance.choice(self.urls) + request.path
        try:
            return await self.http.request(request.method, url, content=request.body, headers=headers)
        except httpx2.HTTPError:
            return None

    async def get(self, path: str, url: str | None = None) -> httpx2.Response | None:
        try:
            return await self.http.get((url or self.chance.choice(self.urls)) + path)
        except httpx2.HTTPError:
            return None

    async def predict(self, url: str, service: str, inputs: object) -> httpx2.Response | None:
        try:
            return await self.http.post(f"{url}/api/v1/services/{service}/predict", json={"inputs": inputs})
        except httpx2.HTTPError:
            return None

    def _is_not_now(self, response: httpx2.Response) -> bool:
        if response.status_code in AGAIN or (response.status_code == 500 and self.tolerates_500):
            return True
        return response.status_code == 409 and _body(response).get("code") == IN_PROGRESS

    async def close(self) -> None:
        await self.http.aclose()


def work_id(response: httpx2.Response) -> str:
    """The operation, or the prediction, that an answer names."""
    if "operation-location" in response.headers:
        return str(response.headers["operation-location"]).rpartition("/")[2]
    return str(_body(response).get("id", ""))


def upload(model: str, content: bytes, key: str) -> Request:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = f"/api/v1/models/{model}/versions"
    return Request("POST", path, content, key, content_type="application/octet-stream", digest=digest)


def wish(method: str, path: str, body: object, key: str, marker: float | None = None) -> Request:
    content = b"" if body is None else json.dumps(body).encode()
    return Request(method, path, content, key, marker=marker)


def _body(response: httpx2.Response) -> Document:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
