"""The launcher finds the rooms of a clone and of a wheel, and refuses an old Python in one sentence."""

import runpy
import sys
from pathlib import Path

import pytest

from portside.launcher import rooms_folder


def test_in_a_clone_the_rooms_lie_beside_the_package(tmp_path: Path) -> None:
    (tmp_path / "portside").mkdir()
    assert rooms_folder(tmp_path / "portside") == tmp_path


def test_in_a_wheel_the_rooms_lie_inside_the_package(tmp_path: Path) -> None:
    (tmp_path / "portside/_server").mkdir(parents=True)
    assert rooms_folder(tmp_path / "portside") == tmp_path / "portside/_server"


def test_an_old_python_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, repository_root: Path) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    with pytest.raises(SystemExit) as refused:
        runpy.run_path(str(repository_root / "portside/__main__.py"))
    sentence = str(refused.value)
    assert sentence.startswith("portside needs Python 3.11 or newer")
    assert "Python 3.8" in sentence
    assert "\n" not in sentence


def test_the_file_that_an_old_python_reads_has_no_new_syntax(repository_root: Path) -> None:
    for name in ("__init__.py", "__main__.py"):
        text = (repository_root / "portside" / name).read_text("ascii")
        compile(text, name, "exec", dont_inherit=True)
        assert "->" not in text, "annotations do not parse on Python 2"
        assert 'f"' not in text, "f-strings do not parse before 3.6"
