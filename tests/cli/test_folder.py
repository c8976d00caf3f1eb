"""The data folder is private, has one holder, and says in one sentence why it cannot be used."""

import os
import stat
from pathlib import Path
from threading import Timer

import pytest

from cli.folder import DataFolder, FolderUnusable, address_of


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "new" / "data")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.release()


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    first = DataFolder(tmp_path)
    with pytest.raises(FolderUnusable, match=rf"in use by another portside \(process {os.getpid()}\)"):
        DataFolder(tmp_path, patience_s=0)
    first.release()


def test_a_folder_whose_holder_is_ending_is_waited_for(tmp_path: Path) -> None:
    ending = Timer(0.05, DataFolder(tmp_path).release)
    ending.start()
    DataFolder(tmp_path, patience_s=30).release()
    ending.join()


def test_a_released_folder_can_be_held_again(tmp_path: Path) -> None:
    DataFolder(tmp_path).release()
    DataFolder(tmp_path).release()


@pytest.mark.parametrize("below", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match=r"cannot be written \(.+\): choose another with --data DIR"):
        DataFolder(tmp_path / below)


def test_the_address_of_a_killed_holder_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1")
    (tmp_path / "address").write_text("http://127.0.0.1:1")
    assert address_of(tmp_path, os.getpid()) is None
    folder = DataFolder(tmp_path)
    assert address_of(tmp_path, os.getpid()) is None
    folder.address.write_text("http://127.0.0.1:2")
    assert address_of(tmp_path, os.getpid()) == "http://127.0.0.1:2"
    folder.release()
    assert address_of(tmp_path, os.getpid()) is None
