"""The room of a folder is that of the file system where it is, or would be made."""

from pathlib import Path

from core.disk import room_at


def test_a_folder_that_is_not_there_yet_has_the_room_of_its_nearest_parent(tmp_path: Path) -> None:
    assert room_at(tmp_path / "not" / "there").total == room_at(tmp_path).total > 0
