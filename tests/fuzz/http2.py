"""`python -m tests.fuzz.http2 --seconds 60`: random frames against a gRPC port, in one process with it.

Exit status 1 where an exception escaped, room was lost, a connection stayed, or memory grew. Where h2spec is on PATH
(`go install github.com/summerwind/h2spec/cmd/h2spec@latest`), all its cases are run first.
"""

import argparse
import asyncio
import random
import shutil
import sys
import time
from typing import Any, Final

import psutil
import uvloop

from serving.application import ModelServer
from serving.grpc_server import GrpcServer
from serving.signature import InputField
from serving.tuning import Tuning
from tests.serving.http2.test_floods import hostile
from tests.serving.models import IDENTITY, echo_scorer

AT_ONCE: Final = 8
WARM_S: Final = 5.0
MOST_GROWTH_BYTES: Final = 16 * 2**20
LIMIT_BYTES: Final = 8 * 2**20


async def attack(port: int, dice: random.Random) -> None:
    """One connection, its bytes in pieces of any size, which hangs up at any time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data, at = hostile(dice), 0
    while at < len(data):
        size = dice.choice([len(data), dice.randrange(1, 200)])
        writer.write(data[at : at + size])
        at += size
        if dice.random() < 0.1:
            await asyncio.sleep(0)
    if dice.random() < 0.5 and not writer.is_closing():
        writer.write_eof()
        await asyncio.gather(asyncio.wait_for(reader.read(), 30), return_exceptions=True)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def conforms(port: int) -> bool:
    """Whether h2spec finds nothing, or is not here."""
    program = shutil.which("h2spec")
    if program is None:
        print("h2spec is not on PATH: left out", flush=True)
        return True
    run = await asyncio.create_subprocess_exec(
        program, "-h", "127.0.0.1", "-p", str(port), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await run.communicate()
    print(said.decode().strip().splitlines()[-1], flush=True)
    return run.returncode == 0


async def campaign(seconds: float, seed: int) -> bool:
    """Attack for so long; whether all was well."""
    errors: list[dict[str, Any]] = []
    loop, dice, count = asyncio.get_running_loop(), random.Random(seed), 0
    loop.set_exception_handler(lambda _, context: errors.append(context))
    application = ModelServer(IDENTITY, None, 2, Tuning(max_in_flight_bytes=LIMIT_BYTES))
    application.serve(echo_scorer(InputField("x", "FP32", (-1, -1))), 0.0)
    server = GrpcServer(application, LIMIT_BYTES, room=application.room)
    port = await server.start("127.0.0.1", 0)
    is_well, end = await conforms(port), time.monotonic() + seconds

    async def attacks(until: float) -> None:
        nonlocal count
        while time.monotonic() < until:
            await attack(port, dice)
            count += 1

    await asyncio.gather(*(attacks(min(time.monotonic() + WARM_S, end)) for _ in range(AT_ONCE)))
    before = psutil.Process().memory_info().rss
    await asyncio.gather(*(attacks(end) for _ in range(AT_ONCE)))
    grown = psutil.Process().memory_info().rss - before
    await server.stop(10)
    lost = application.room.taken_bytes
    print(f"seed {seed}: {count} connections, {len(errors)} exceptions, {lost} bytes lost, {grown >> 20} MiB grown")
    print(*errors[:3], sep="\n")
    return is_well and not errors and not lost and grown < MOST_GROWTH_BYTES


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.http2", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(campaign(given.seconds, given.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
