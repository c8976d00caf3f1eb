"""A small DNS server on a real socket, and a resolver that asks it: for names whose meaning changes."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import cast

HEADER = struct.Struct("!HHHHHH")
ANSWER = struct.Struct("!HHHIH")  # a pointer to the name, type A, class IN, time to live, length
ANSWERED = 0x8180
POINTER = 0xC00C


@dataclass
class Names(asyncio.DatagramProtocol):
    """Answers each question with the next of `answers`, the last one for ever, and lets nobody keep an answer."""

    answers: Sequence[Sequence[str]]
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is bound."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One question (RFC 1035, 4.1)."""
        number = HEADER.unpack_from(data)[0]
        question = data[HEADER.size :]
        self.asked.append(_name(question))
        addresses = self.answers[min(len(self.asked), len(self.answers)) - 1]
        head = HEADER.pack(number, ANSWERED, 1, len(addresses), 0, 0)
        records = b"".join(ANSWER.pack(POINTER, 1, 1, 0, 4) + IPv4Address(address).packed for address in addresses)
        assert self._transport is not None
        self._transport.sendto(head + question + records, addr)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Ask this server, over the network, every time."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bytes] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Ear(heard), remote_addr=("127.0.0.1", self.port))
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
        transport.sendto(HEADER.pack(7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1))
        try:
            async with asyncio.timeout(60):
                answer = await heard
        finally:
            transport.close()
        count, size = HEADER.unpack_from(answer)[3], ANSWER.size + 4
        records = answer[len(answer) - count * size :]
        return [str(IPv4Address(records[n * size + ANSWER.size : (n + 1) * size])) for n in range(count)]


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: "asyncio.Future[bytes]") -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._heard.set_result(data)


def _name(question: bytes) -> str:
    labels, at = [], 0
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels)


@asynccontextmanager
async def open_names(*answers: Sequence[str]) -> AsyncIterator[Names]:
    """A listening server."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(lambda: Names(answers), local_addr=("127.0.0.1", 0))
    names.port = transport.get_extra_info("sockname")[1]
    try:
        yield names
    finally:
        transport.close()
