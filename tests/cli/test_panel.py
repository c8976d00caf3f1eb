"""The panel of `portside up`: what is to be copied stands in one piece."""

from pathlib import Path

import pytest

from cli.panel import Introduction, show_panel


def test_paths_in_the_home_folder_fit_into_the_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "somebody-with-a-rather-long-name" / "whose-folders-lie-deep"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    data = home / ".local" / "share" / "portside"
    show_panel(Introduction("http://127.0.0.1:8000", data, data / "logs" / "p.log", None, Path("/t"), "off"), "1")
    told = capsys.readouterr().err
    assert "Log       ~/.local/share/portside/logs/p.log " in told
    assert "Token     in /t " in told
