"""One HTTP request to a webhook's receiver: never redirected, its answer's body not read."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from workers.addresses import Guard
from workers.calling import Resolve, Unreached, called, resolve_by_system, target_of

TIMEOUT_S = 20.0
HEAD_CHARACTERS = 2000


class SendingFailed(Exception):
    """The receiver was not reached or did not answer; another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver's answer without its body."""

    status: int
    head: str
    retry_after: str | None


async def send(
    url: str, body: bytes, headers: Mapping[str, str], guard: Guard, resolve: Resolve = resolve_by_system
) -> Answer:
    """POST the body, as `workers.calling` does. Raises `AddressRefused` for what webhooks may not reach, and
    `SendingFailed`.
    """
    target, patience = target_of(url), httpx2.Timeout(TIMEOUT_S)
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            called("POST", target, headers, guard, patience=patience, content=body, resolve=resolve) as response,
        ):
            return Answer(response.status_code, _head(response), response.headers.get("retry-after"))
    except Unreached as error:
        raise SendingFailed(str(error)) from error
    except TimeoutError as error:
        raise SendingFailed(f"no answer within {TIMEOUT_S:g} s") from error


def _head(response: httpx2.Response) -> str:
    lines = [f"{response.http_version} {response.status_code} {response.reason_phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.multi_items()]
    return "\n".join(lines)[:HEAD_CHARACTERS]
