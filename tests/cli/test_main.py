"""The command line as a process: help, versions, usage, and what a verb may cost before it works."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import typer

from cli.main import build

SERVERS = ("alembic", "fastapi", "pydantic", "sqlalchemy", "starlette", "uvicorn", "dramatiq")


def portside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "portside", *arguments]
    given = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)


def test_help_names_the_verbs_and_the_exit_statuses() -> None:
    done = portside("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("up", "deploy", "demo", "predict", "doctor", "124"):
        assert word in done.stdout


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


def test_help_loads_no_client() -> None:
    code = "import sys, cli.main\ncli.main.build()\nprint(*{'httpx2', 'rich.progress', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_status_loads_neither_progress_bars_nor_yaml() -> None:
    code = "import sys, cli.listing, cli.output, cli.nearest\nprint(*{'rich.progress', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


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
