"""The command line as a process: help, versions, usage, and what a verb may cost before it works."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import typer

from cli.main import GROUPS, MORE, PARTS, START, WORK, build
from tests.portside.scripted import Say, scripted

SERVERS = ("alembic", "fastapi", "pydantic", "sqlalchemy", "starlette", "uvicorn", "dramatiq")
# What a command must not wait for that only tells something: each takes 10 to 150 ms, on this machine's busy days.
SLOW = (
    *SERVERS,
    *("anyio", "asyncio", "httpcore2", "httpx2", "importlib.metadata", "yaml"),
    *("attr", "markdown_it", "pygments", "rich._emoji_codes", "rich.markdown", "rich.progress", "rich.traceback"),
)


def portside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "portside", *arguments]
    given = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)


@cache
def helped() -> subprocess.CompletedProcess[str]:
    """What `--help` did."""
    return portside("--help")


def test_help_names_the_verbs_and_the_exit_statuses() -> None:
    done = helped()
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("up", "deploy", "demo", "predict", "doctor", "124"):
        assert word in done.stdout


def test_help_tells_each_verb_whole_under_its_heading() -> None:
    page = helped().stdout
    lines = page.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [f"{heading}:" for heading in ("Options", START, WORK, GROUPS, PARTS, MORE)]
    assert "..." not in page.partition("\n")[2], "a summary was cut"
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in page


def test_help_has_colours_for_who_watches_and_wants_them() -> None:
    assert "\x1b[1mModels and services\x1b[0m:" in shown_to_a_person("--help")
    assert "\x1b" not in shown_to_a_person("--help", NO_COLOR="1")


def shown_to_a_person(*words: str, **environment: str) -> str:
    """What the command writes to a terminal."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "portside", *words]
    bare = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(command, env={**bare, **environment}, stdout=theirs, stderr=subprocess.STDOUT):
        os.close(theirs)
        pieces = []
        while piece := _read(ours):
            pieces.append(piece)
    os.close(ours)
    return b"".join(pieces).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so once nobody holds the other end
        return b""


def test_the_help_of_up_names_its_settings() -> None:
    said = portside("up", "--help").stdout
    for word in ("--data", "--host", "--port", "PORTSIDE_DATA", "Ctrl-C"):
        assert word in said


def test_the_version_names_the_engines() -> None:
    lines = portside("--version").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["portside", "onnxruntime", "onnx", "pypmml", "Python"]


def test_a_mistyped_verb_is_a_usage_error_that_names_the_nearest() -> None:
    done = portside("deplyo")
    assert done.returncode == 2
    assert "Did you mean 'deploy'" in done.stderr


def test_client_verbs_load_no_server() -> None:
    code = (
        "import sys, cli.main, cli.deployment, cli.listing, cli.operating, cli.prediction, cli.changes, cli.output\n"
        "import cli.registry, cli.fleet, cli.operations, cli.submissions, cli.webhooks, cli.events, cli.nearest\n"
        "import cli.many, cli.questions, cli.statements, cli.tokens\n"
        "import cli.apply.documents, cli.apply.plan, cli.apply.steps, cli.yaml_text, cli.service_metrics\n"
        "cli.main.build()\n"
        f"print(*sorted(set(sys.modules) & set({SERVERS!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def modules_after(*words: str, api: str = "") -> set[str]:
    """What is loaded once the command has done its work."""
    code = (
        "import sys, portside.launcher\n"
        f"sys.argv = ['portside', *{words!r}]\n"
        "try:\n    portside.launcher.main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, **({"PORTSIDE_API": api} if api else {})}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [("--help",), ("deploy", "--help"), ("services", "--help")])
def test_help_loads_nothing_that_takes_long(words: tuple[str, ...]) -> None:
    loaded = modules_after(*words)
    assert "cli.commands.services" in loaded
    assert loaded & {*SLOW, "http.client", "json", "logging", "rich", "ssl"} == set()


@pytest.mark.parametrize("words", [("status",), ("status", "-o", "json"), ("--api", "URL", "status", "-q")])
def test_status_loads_nothing_that_takes_long(words: tuple[str, ...]) -> None:
    lane = {"working": 0, "waiting": 0, "oldest_s": 0.0}
    ready, system = Say(200, {"status": "ready"}), Say(200, {"version": "1", "lanes": {"run": lane}})
    with scripted(ready, system) as server:
        loaded = modules_after(*(server.url if word == "URL" else word for word in words), api=server.url)
    assert "cli.listing" in loaded
    assert loaded & set(SLOW) == set()


@pytest.mark.parametrize("group", ["models", "services", "operations", "predictions", "webhooks"])
def test_a_mistyped_verb_of_a_group_names_the_nearest(group: str) -> None:
    done = portside(group, "shwo")
    assert done.returncode == 2
    assert "Did you mean 'show'" in done.stderr


def test_every_verb_that_prints_documents_takes_the_same_options() -> None:
    for name, function in verbs(build()):
        taken = inspect.signature(function).parameters
        if "output" in taken:
            assert {"as_json", "quiet"} <= set(taken), name
        if name.split()[-1] in ("delete", "rotate-secret"):
            assert "yes" in taken, name
        assert (function.__doc__ or "").strip(), name


def verbs(app: typer.Typer, above: str = "") -> Iterator[tuple[str, Callable[..., object]]]:
    """Every verb with the names of its groups."""
    for command in app.registered_commands:
        assert command.callback
        yield f"{above}{command.name}", command.callback
    for group in app.registered_groups:
        assert group.typer_instance
        yield from verbs(group.typer_instance, f"{above}{group.name} ")


def test_two_formats_at_once_are_a_usage_error() -> None:
    done = portside("ls", "--json", "-o", "yaml")
    assert done.returncode == 2
    assert "exclude each other" in done.stderr
