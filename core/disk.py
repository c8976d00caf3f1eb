"""How much room a folder's file system has, also where the folder itself is not there yet.

A process of a divided platform makes its data folder when it first needs it: an API of one may never have to.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of one file system."""

    total: int
    free: int


def room_at(folder: Path) -> Room:
    """The room where `folder` is or would be made. Blocks: it may be on a network. Raises `OSError`."""
    place = folder.absolute()
    nearest = next((one for one in (place, *place.parents) if one.exists()), Path(place.anchor))
    usage = shutil.disk_usage(nearest)
    return Room(usage.total, usage.free)
