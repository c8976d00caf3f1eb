"""The documentation keeps its promises: links lead somewhere, variables exist, the tutorial's commands do what it says.

In the tutorial and some guides `<!-- run -->` marks a block that is executed and `<!-- output -->` what it prints, `…`
standing for anything. The blocks of the Python client's page are one program.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.child import running_platform
from core.settings import Settings
from deploy.stack.child import free_port
from tests.docs.typist import typing
from tests.e2e.platform import RunningPlatform
from tests.workers.node.scriptworld import remove_places

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
TUTORIAL = ROOT / "docs/tutorial/first-prediction.md"
NIGHTLY = ROOT / "docs/tutorial/score-every-night.md"
GUIDES = [
    ROOT / "docs/how-to" / name
    for name in (
        "use-the-command-line.md",
        "keep-services-in-git.md",
        "send-inputs.md",
        "several-models-in-one-version.md",
        "upload-from-a-url.md",
        "run-batch-jobs.md",
        "use-datasets.md",
        "script-jobs.md",
        "schedules.md",
    )
]
PYTHON_CLIENT = ROOT / "docs/how-to/use-the-python-client.md"
DEPENDENCIES = ROOT / "docs/explanation/dependencies.md"

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
VARIABLE = re.compile(r"\bPORTSIDE_[A-Z_]*[A-Z]\b")
STEP = re.compile(r"<!-- run -->\n```sh\n(.*?)^```\n(?:<!-- output -->\n```\w+\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python\n(.*?)^```\n(?:<!-- output -->\n```\w+\n(.*?)^```)?", re.MULTILINE | re.DOTALL)

# Not settings of the platform: what clients read, what replicas are given, what finds a Java.
OTHER_VARIABLES = frozenset(
    {"PORTSIDE_API", "PORTSIDE_TOKEN", "PORTSIDE_JAVA_HOME"}
    | {"PORTSIDE_SERVICE", "PORTSIDE_MODEL", "PORTSIDE_VERSION", "PORTSIDE_REPLICA", "PORTSIDE_CONFIG_DIR"}
    | {"PORTSIDE_NATIVE", "PORTSIDE_MAX_BATCH", "PORTSIDE_ACCESS_LOG", "PORTSIDE_SAMPLE_PAYLOADS"}
    | {"PORTSIDE_JOB", "PORTSIDE_RUN", "PORTSIDE_SCHEDULED_FOR", "PORTSIDE_INPUTS", "PORTSIDE_MODELS"}
    | {"PORTSIDE_OUTPUTS", "PORTSIDE_CHECKPOINT", "PORTSIDE_REPORT_FD"}  # of scripts
    | {"PORTSIDE_BATCH_KILLS", "PORTSIDE_BATCH_SEED"}  # of a test
)
PAGE_S = 300.0
BETWEEN = "\x1e"  # ASCII's record separator: no output has it


@dataclass(frozen=True, slots=True)
class Step:
    """One block of a page and what it says that is printed, if anything."""

    commands: str
    shown: str | None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchor(heading: str) -> str:
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"{target}: no such file"
        elif fragment and fragment not in map(anchor, HEADING.findall(file.read_text("utf-8"))):
            yield f"{target}: no such heading"


def steps(page: Path) -> list[Step]:
    return [Step(commands, shown or None) for commands, shown in STEP.findall(page.read_text("utf-8"))]


def is_as_shown(printed: str, shown: str) -> bool:
    """Whether they agree, whatever stands for `…` and however the lines are broken."""
    parts = ["".join(part.split()) for part in shown.split("…")]
    return re.fullmatch(".*?".join(map(re.escape, parts)), "".join(printed.split())) is not None


def run_in_bash(script: str, folder: Path, environment: dict[str, str]) -> str:
    """What the script prints; it and all that it has started end here."""
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=PAGE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, errors = process.communicate()
        pytest.fail(f"the page did not end within {PAGE_S:g} s\n{printed}\n{errors}")
    assert process.returncode == 0, f"{printed}\n{errors}"
    return printed


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_variable_that_is_named_exists(page: Path) -> None:
    known = {f"PORTSIDE_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(VARIABLE.findall(page.read_text("utf-8"))) <= known


def test_each_page_is_reached_from_the_map() -> None:
    docs = ROOT / "docs"
    linked = {(docs / target).resolve() for target in LINK.findall((docs / "README.md").read_text("utf-8"))}
    own = [page for page in docs.rglob("*.md") if page.parent.name != "decisions" and page.name != "README.md"]
    assert [name_of(page) for page in own if page not in linked] == []


def test_each_dependency_has_a_line_with_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    lines = set(re.findall(r"^\| `([^`]+)` \|", DEPENDENCIES.read_text("utf-8"), re.MULTILINE))
    names = {re.split(r"[\s\[<>=;]", one, maxsplit=1)[0] for one in wanted}
    assert names - lines == set(), "a dependency without its reason"


def test_the_comparison_sees_through_line_breaks_and_gaps_and_nothing_else() -> None:
    assert is_as_shown('{"id":"op_1","n":1}', '{\n  "id": "op_…",\n  "n": 1\n}')
    assert not is_as_shown('{"id":"op_1","n":2}', '{\n  "id": "op_…",\n  "n": 1\n}')


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_a_guide_to_the_command_line_executes_every_command_that_it_shows(page: Path) -> None:
    assert len(steps(page)) == page.read_text("utf-8").count("```sh\n")


@pytest.fixture(scope="module")
def portside() -> Iterator[str]:
    """A line of bash that makes what `make setup` puts into .venv/bin a command."""
    with tempfile.TemporaryDirectory() as folder, typing(Path(folder)) as line:
        yield line


@pytest.mark.parametrize("page", [TUTORIAL, NIGHTLY, *GUIDES], ids=name_of)
def test_a_page_does_what_it_says(page: Path, portside: str, tmp_path: Path) -> None:
    tmp_path.joinpath("examples").symlink_to(ROOT / "examples")
    tmp_path.joinpath(".venv").symlink_to(Path(sys.executable).parent.parent)
    script = f"\nprintf '{BETWEEN}'\n".join(step.commands for step in steps(page))
    script = portside + script.replace("8091", str(free_port()))
    try:
        with RunningPlatform.start(tmp_path / "data") as platform:
            environment = {**os.environ, "PORTSIDE_API": platform.url, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
            environment["ROWS"] = "20000"  # and not a million
            printed = run_in_bash(script, tmp_path, environment).split(BETWEEN)
    finally:
        remove_places(tmp_path / "data")
    for step, output in zip(steps(page), printed, strict=True):
        if step.shown is not None:
            assert is_as_shown(output, step.shown), f"{step.commands}\nprinted\n{output}\nand not\n{step.shown}"


def test_the_page_of_the_python_client_does_what_it_says(tmp_path: Path) -> None:
    tmp_path.joinpath("examples").symlink_to(ROOT / "examples")
    blocks = [Step(code, shown or None) for code, shown in PROGRAM.findall(PYTHON_CLIENT.read_text("utf-8"))]
    program = tmp_path / "program.py"
    program.write_text(f"print({BETWEEN!r}, end='')\n".join(block.commands for block in blocks), "utf-8")
    with running_platform(tmp_path / "data", 0) as platform:
        environment = {**os.environ, "PORTSIDE_API": platform.url, "PYTHONPATH": str(ROOT)}
        command = shlex.join([sys.executable, "-W", "error", str(program)])
        printed = run_in_bash(command, tmp_path, environment).split(BETWEEN)
    for block, output in zip(blocks, printed, strict=True):
        assert block.shown is not None, f"{block.commands}\nprints something and the page does not say what"
        assert is_as_shown(output, block.shown), f"{block.commands}\nprinted\n{output}\nand not\n{block.shown}"
