"""What clients do in a round: a few stories at once, each a line of requests that follow from each other, by chance."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.crash.artifacts import onnx_artifact
from tests.crash.ledger import Acknowledged, Client, upload, wish

STEADY = "steady"
MODEL = "iris"
MOST_SERVICES = 2  # beside the steady one: each costs a model server
LARGE_RECORDS = 2400  # more than 64 KiB: such a body lies in the store
SEPAL_CM = 5.1

Story = Callable[["Workload"], Awaitable[None]]


@dataclass
class World:
    """What clients believe that there is, over all rounds of one installation."""

    services: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    counted: int = 0
    most_services: int = MOST_SERVICES

    def next_number(self) -> int:
        self.counted += 1
        return self.counted


@dataclass
class Workload:
    """One round's clients."""

    client: Client
    world: World
    chance: random.Random
    receiver: str
    salt: str

    async def run(self, stories: Sequence[Story]) -> None:
        """All stories at once; each ends when its last request is answered."""
        await asyncio.gather(*(story(self) for story in stories))

    async def change(self, method: str, path: str, body: object = None, marker: float | None = None) -> str | None:
        """Send a wish; the id of the work that it made, if it was accepted."""
        return self._known(await self.client.change(wish(method, path, body, self._key(), marker)))

    async def upload(self, model: str, content: bytes) -> str | None:
        return self._known(await self.client.change(upload(model, content, self._key())))

    async def wait(self, operation: str | None, longest_s: float = 3.0) -> None:
        """Until it is final, if that is soon; faults may have other plans."""
        deadline = asyncio.get_running_loop().time() + longest_s
        while operation is not None and asyncio.get_running_loop().time() < deadline:
            answer = await self.client.get(f"/api/v1/operations/{operation}:wait?timeout=1")
            if answer is not None and answer.status_code == 200 and answer.json()["done"]:
                return
            await asyncio.sleep(0.05)

    async def pause(self) -> None:
        await asyncio.sleep(0.3 * self.chance.random())

    def artifact(self, salt: str) -> bytes:
        return onnx_artifact(f"{self.salt}/{salt}").content

    def _key(self) -> str:
        return f"{self.salt}-{self.world.next_number()}"

    def _known(self, made: Acknowledged | None) -> str | None:
        if made is None:
            return None
        if made.work_id.startswith("op_"):
            self.world.operations.append(made.work_id)
        return made.work_id


async def uploads(work: Workload) -> None:
    """A new version, the same bytes elsewhere, an alias, and sometimes the end of them."""
    number = work.world.next_number()
    model, content = f"m{number}", work.artifact(str(number))
    made = await work.upload(model, content)
    await work.pause()
    if work.chance.random() < 0.3:
        await work.upload(f"{model}-twin", content)
    if work.chance.random() < 0.6:
        await work.wait(made)
        await work.change("PUT", f"/api/v1/models/{model}/aliases/best", {"version": "1"})
        await work.change("PATCH", f"/api/v1/models/{model}", {"description": work.salt})
    if work.chance.random() < 0.5:
        await work.change("DELETE", f"/api/v1/models/{model}?cascade=true")


async def sweeps(work: Workload) -> None:
    """Bytes that nobody needs any more, and that somebody wants again while they are swept."""
    number = work.world.next_number()
    content = work.artifact(str(number))
    await work.wait(await work.upload(f"m{number}", content))
    await work.change("DELETE", f"/api/v1/models/m{number}?cascade=true")
    await asyncio.sleep(0.5 + 1.5 * work.chance.random())
    await work.upload(f"m{number}-again", content)


async def services(work: Workload) -> None:
    """A new service and what its owner thinks of next; an old one makes room."""
    if len(work.world.services) >= work.world.most_services:
        await work.change("DELETE", f"/api/v1/services/{work.world.services.pop(0)}")
    name = f"s{work.world.next_number()}"
    wanted = {"name": name, "model": MODEL, "replicas": 1}
    made = await work.change("POST", "/api/v1/services", wanted)
    if made is None:
        return
    work.world.services.append(name)
    if work.chance.random() < 0.7:
        await work.wait(made)
    await work.pause()
    await _verbs(work, name)


async def cascades(work: Workload) -> None:
    """A model is deleted with the service that uses it, whatever that does just then."""
    number = work.world.next_number()
    await work.wait(await work.upload(f"m{number}", work.artifact(str(number))))
    made = await work.change("POST", "/api/v1/services", {"name": f"c{number}", "model": f"m{number}", "replicas": 1})
    if work.chance.random() < 0.6:
        await work.wait(made)
    await work.pause()
    await work.change("DELETE", f"/api/v1/models/m{number}?cascade=true")


async def verbs(work: Workload) -> None:
    """What owners ask of services that there are."""
    name = work.chance.choice([STEADY, *work.world.services])
    await _verbs(work, name)


async def _verbs(work: Workload, name: str) -> None:
    path = f"/api/v1/services/{name}"
    choices: list[tuple[str, str, object]] = [
        ("PATCH", path, {"replicas": work.chance.choice((1, 2))}),
        ("PATCH", path, {"description": work.salt}),
        ("PATCH", path, {"env": {"ROUND": work.salt}}),
        ("POST", f"{path}:restart", None),
        ("POST", f"{path}:pause", None),
        ("POST", f"{path}:resume", None),
    ]
    for method, where, body in work.chance.sample(choices, 2):
        await work.change(method, where, body)
        await work.pause()
    if name == STEADY:  # it serves again at the end of each round
        await work.change("POST", f"{path}:resume")
        await work.change("PATCH", path, {"replicas": 1})
    elif work.chance.random() < 0.3:
        if name in work.world.services:  # another story may have ended it
            work.world.services.remove(name)
        await work.change("DELETE", path)


async def predictions(work: Workload) -> None:
    """Durable predictions in every way of submitting them; some are canceled."""
    for _ in range(work.chance.randint(3, 6)):
        made = await _prediction(work, work.chance.choice([STEADY, STEADY, *work.world.services]))
        if made is not None:
            work.world.predictions.append(made)
        if work.world.predictions and work.chance.random() < 0.2:
            await work.change("POST", f"/api/v1/predictions/{work.chance.choice(work.world.predictions)}/cancel")


async def _prediction(work: Workload, service: str) -> str | None:
    number = work.world.next_number()
    marker = round(SEPAL_CM + number * 1e-6, 6)  # the same answer, and a number that no other request has
    record = {"float_input": [marker, 3.5, 1.4, 0.2]}
    body: dict[str, object] = {"inputs": record}
    if work.chance.random() < 0.1:
        body["inputs"] = [record] * LARGE_RECORDS
    if work.chance.random() < 0.5:
        body |= {"webhook": f"{work.receiver}/own", "webhook_events_filter": ["completed"]}
    path = f"/api/v1/services/{service}/predictions"
    if work.chance.random() < 0.4:
        return await work.change("PUT", f"{path}/prd_c{number}", body, marker)
    return await work.change("POST", path, body, marker)


async def endpoints(work: Workload) -> None:
    """An endpoint that comes and, sometimes, goes while it is told things."""
    wanted = {"url": f"{work.receiver}/more", "events": ["operation.succeeded", "prediction.succeeded"]}
    made = await work.change("POST", "/api/v1/webhooks", wanted)
    await work.pause()
    answer = await work.client.get("/api/v1/webhooks?page_size=500")
    found = answer.json()["items"] if answer is not None and answer.status_code == 200 else []
    mine = [each["id"] for each in found if each["url"].endswith("/more")]
    if made is not None and mine:
        chosen = work.chance.choice(mine)
        if len(mine) > 1 or work.chance.random() < 0.5:
            await work.change("DELETE", f"/api/v1/webhooks/{chosen}")
        else:
            await work.change("PATCH", f"/api/v1/webhooks/{chosen}", {"description": work.salt})


async def cancels(work: Workload) -> None:
    """Somebody changes their mind about an operation."""
    await work.pause()
    if work.world.operations:
        chosen = work.chance.choice(work.world.operations[-6:])
        await work.change("POST", f"/api/v1/operations/{chosen}:cancel")


STORIES: Sequence[Story] = (uploads, services, verbs, predictions, endpoints, cancels, sweeps)
