"""The door of gRPC: its messages cost some milliseconds and megabytes, which only those pay who ask for it."""

import asyncio
from typing import TYPE_CHECKING

from serving.messages import Application
from serving.protocols.surface import ReplicaSurface
from serving.room import Room

if TYPE_CHECKING:
    from serving.grpc_methods import Methods
    from serving.grpc_server import GrpcServer


def open_methods(surface: ReplicaSurface) -> "Methods":
    """What is answered to gRPC."""
    from serving.grpc_methods import Methods

    return Methods(surface)


async def open_grpc_server(
    application: Application, max_message_bytes: int, room: Room, *, reads_metadata: bool
) -> "GrpcServer":
    """A server that does not listen yet; its libraries are read beside the loop, which answers meanwhile."""

    def found() -> "type[GrpcServer]":
        from serving.grpc_server import GrpcServer

        return GrpcServer

    return (await asyncio.to_thread(found))(application, max_message_bytes, reads_metadata=reads_metadata, room=room)
