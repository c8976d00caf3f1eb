"""The reference pages are made from the code, the same every time, and a stale one is named."""

from pathlib import Path

import pytest

from cli.failure import CommandFailed
from cli.reference import check_pages, errors_page, pages, settings_page, states_page, write_pages
from core.settings import Settings
from state.machines import MACHINES


def test_pages_that_were_just_written_are_right(tmp_path: Path) -> None:
    write_pages(tmp_path / "reference")
    check_pages(tmp_path / "reference")
    assert {file.name for file in (tmp_path / "reference").iterdir()} == set(pages())


def test_a_stale_and_a_missing_page_are_named(tmp_path: Path) -> None:
    write_pages(tmp_path)
    (tmp_path / "states.md").write_text("old")
    (tmp_path / "errors.md").unlink()
    with pytest.raises(CommandFailed) as refused:
        check_pages(tmp_path)
    assert "states.md" in refused.value.message
    assert "errors.md" in refused.value.message
    assert "settings.md" not in refused.value.message


def test_every_move_of_every_machine_is_on_the_page() -> None:
    page = states_page()
    for machine in MACHINES.values():
        assert f"## {machine.name}\n" in page
        for move in machine.moves.values():
            assert f"| `{move.name}` | " in page
            assert all(f"    {source} --> {move.to}: {move.name}" in page for source in move.sources)


def test_every_setting_is_on_the_page_with_what_it_says() -> None:
    page = settings_page()
    for name, field in Settings.model_fields.items():
        assert f"| `PORTSIDE_{name.upper()}` |" in page
        assert field.description, f"{name} says nothing about itself"


def test_errors_of_all_rooms_are_on_the_page() -> None:
    page = errors_page()
    for code in ("not_found", "service_paused", "deploy_timeout", "disk_full", "illegal_move", "no_runtime_folder"):
        assert f"| `{code}` |" in page
