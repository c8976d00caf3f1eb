"""One request to a receiver: resolved once and sent to the very address that was checked; never redirected."""

import asyncio
import socket

import pytest

from tests.workers.names import open_names
from tests.workers.receiver import open_receiver
from workers.addresses import AddressRefused, Guard
from workers.sending import SendingFailed, send

NAME = "rebind.example"  # no resolver of this machine knows it
INTERNAL = "127.0.0.2"
LOOPBACK, PUBLIC = Guard("loopback", "PORTSIDE_X"), Guard("public", "PORTSIDE_X")


async def test_a_name_that_changes_its_meaning_is_not_followed() -> None:
    async with open_receiver() as wanted, open_names(["127.0.0.1"], [INTERNAL]) as names:
        inner = await asyncio.start_server(wanted.serve, INTERNAL, wanted.port)
        async with inner:
            answer = await send(f"http://{NAME}:{wanted.port}/hook", b"{}", {}, LOOPBACK, names.resolve)
    assert answer.status == 200
    assert names.asked == [NAME]  # once: what it means now is nobody's question
    (received,) = wanted.received
    assert (received.headers["host"], received.local) == (f"{NAME}:{wanted.port}", "127.0.0.1")


async def test_a_name_that_means_an_inner_address_at_the_second_question_is_refused_then() -> None:
    async with open_receiver() as receiver, open_names(["127.0.0.1"], ["10.0.0.7"]) as names:
        url = f"http://{NAME}:{receiver.port}/"
        assert (await send(url, b"{}", {}, LOOPBACK, names.resolve)).status == 200
        with pytest.raises(AddressRefused, match=r"10\.0\.0\.7"):
            await send(url, b"{}", {}, LOOPBACK, names.resolve)
    assert len(receiver.received) == 1


async def test_one_inner_address_among_good_ones_refuses_them_all() -> None:
    async with open_receiver() as receiver, open_names(["127.0.0.1", "169.254.169.254"]) as names:
        with pytest.raises(AddressRefused, match=r"169\.254\.169\.254"):
            await send(f"http://{NAME}:{receiver.port}/", b"{}", {}, LOOPBACK, names.resolve)
    assert receiver.received == []


async def test_loopback_is_refused_where_only_the_internet_may_be_reached() -> None:
    async with open_receiver() as receiver, open_names(["127.0.0.1"]) as names:
        with pytest.raises(AddressRefused, match="public internet"):
            await send(f"http://{NAME}:{receiver.port}/", b"{}", {}, PUBLIC, names.resolve)
    assert receiver.received == []


async def test_an_address_that_refuses_leads_to_the_next_one_that_was_checked() -> None:
    async with open_receiver() as receiver, open_names([INTERNAL, "127.0.0.1"]) as names:
        answer = await send(f"http://{NAME}:{receiver.port}/", b"{}", {}, LOOPBACK, names.resolve)
    assert (answer.status, names.asked) == (200, [NAME])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: str) -> None:
    async with open_receiver() as inner:
        head = f"location: {inner.url}\r\n"
        async with open_receiver(answers=[status], extra_head=head) as receiver:
            answer = await send(receiver.url, b"{}", {}, LOOPBACK)
    assert answer.status == int(status[:3])
    assert inner.received == []


async def test_the_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_receiver() as receiver, open_receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await send(receiver.url, b"{}", {}, LOOPBACK)).status == 200
    assert proxy.received == []


async def test_a_name_that_nobody_knows_may_be_known_later() -> None:
    async with open_names([]) as names:
        with pytest.raises(AddressRefused, match="no address"):
            await send(f"http://{NAME}/", b"{}", {}, LOOPBACK, names.resolve)

    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")  # as the system says, and not when it can

    with pytest.raises(SendingFailed, match="cannot be resolved"):
        await send("http://nowhere.invalid/", b"{}", {}, LOOPBACK, resolve)
