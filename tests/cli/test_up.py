"""What keeps a platform from starting is one sentence that names the setting."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cli.embedded import start_embedded
from cli.failure import CommandFailed
from cli.settings import read_settings


def test_the_command_line_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_PORT", "1")
    monkeypatch.setenv("PORTSIDE_HOST", "::1")
    settings = read_settings(tmp_path, None, 2)
    assert (settings.data, settings.host, settings.port) == (tmp_path, "::1", 2)


def test_a_setting_that_cannot_be_is_named_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_DRAIN_S", "soon")
    monkeypatch.setenv("PORTSIDE_PORT", "70000")
    with pytest.raises(CommandFailed) as refused:
        read_settings()
    assert refused.value.exit_status == 2
    said = "\n".join(refused.value.details)
    assert "PORTSIDE_DRAIN_S=soon: " in said
    assert "PORTSIDE_PORT=70000: " in said


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PORTSIDE_ARTIFACTS_URL", "gopher://x", "gopher://"),
        ("PORTSIDE_DATABASE_URL", "mysql://x", "must start with sqlite: or postgresql:"),
        ("PORTSIDE_SECRET_KEY", "short", "PORTSIDE_SECRET_KEY is no key of 32 bytes"),
    ],
)
async def test_a_backend_that_cannot_be_opened_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str
) -> None:
    monkeypatch.setenv(name, text)
    async with AsyncExitStack() as stack:
        with pytest.raises(CommandFailed, match=words) as refused:
            await start_embedded(read_settings(tmp_path), "0", asyncio.Event(), stack)
    assert refused.value.exit_status == 2


async def test_a_broken_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("AAAA")
    async with AsyncExitStack() as stack:
        with pytest.raises(CommandFailed, match=r"secret\.key is no key of 32 bytes"):
            await start_embedded(read_settings(tmp_path), "0", asyncio.Event(), stack)
