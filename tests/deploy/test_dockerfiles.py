"""The Dockerfiles can be read by BuildKit's parser, copy what exists, start real commands, and end as no root."""

import tomllib
from pathlib import Path

import dockerfile
import pytest

from tests.deploy.commands import parse
from tests.deploy.compose import ROOT, services

FILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
CONTEXTS = {"minio.Dockerfile": ROOT / "deploy"}  # the others are built from the top


def commands(file: Path) -> list[dockerfile.Command]:
    return list(dockerfile.parse_file(str(file)))


def stages(file: Path) -> dict[str, list[dockerfile.Command]]:
    """Each stage's instructions by its name; one without a name is called after its number."""
    found: dict[str, list[dockerfile.Command]] = {}
    for command in commands(file):
        if command.cmd.lower() == "from":
            name = command.value[2] if len(command.value) > 2 else str(len(found))
            found[name] = [command]
        else:
            found[next(reversed(found))].append(command)
    return found


def lineage(file: Path, stage: str) -> list[dockerfile.Command]:
    """The instructions that make a stage, those of its ancestors first."""
    all_stages = stages(file)
    own = all_stages[stage]
    parent = own[0].value[0]
    return (lineage(file, parent) if parent in all_stages else []) + own


def last(file: Path, stage: str, instruction: str) -> tuple[str, ...]:
    values = [command.value for command in lineage(file, stage) if command.cmd.lower() == instruction]
    return values[-1] if values else ()


def test_there_is_one_for_the_control_plane_and_one_for_the_model_server() -> None:
    assert {"control.Dockerfile", "serving.Dockerfile"} <= {file.name for file in FILES}
    assert {"control", "node"} <= set(stages(ROOT / "deploy" / "control.Dockerfile"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_copied_exists_and_is_not_ignored(file: Path) -> None:
    context = CONTEXTS.get(file.name, ROOT)
    ignored = {line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.isidentifier()}
    for command in commands(file):
        if command.cmd.lower() != "copy":
            continue
        *sources, _ = command.value
        origin = next((flag.partition("=")[2] for flag in command.flags if flag.startswith("--from=")), None)
        if origin is not None:
            assert origin in stages(file)
            continue
        for source in sources:
            assert (context / source).exists(), f"{file.name}:{command.start_line} copies {source}"
            assert source.split("/")[0] not in ignored


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_base_image_has_a_version(file: Path) -> None:
    names = set(stages(file))
    for stage in stages(file).values():
        image = stage[0].value[0]
        assert image in names or any(character.isdigit() for character in image.partition(":")[2]), image


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_its_final_stage_runs_as_a_numbered_user(file: Path) -> None:
    # By number: Kubernetes' runAsNonRoot cannot look a name up.
    assert last(file, list(stages(file))[-1], "user") == ("10001:10001",)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_packages_come_from_hashed_locks_only(file: Path) -> None:
    for command in commands(file):
        for line in command.value[0].split("&&") if command.cmd.lower() == "run" else ():
            if "pip install" in line:
                assert "--require-hashes -r" in line or "--no-deps /wheel/" in line, line


def test_the_wheel_is_made_of_all_it_has_and_the_model_server_is_alone_in_its_image() -> None:
    wheel = {
        command.value[0] for command in stages(ROOT / "deploy/control.Dockerfile")["wheel"] if command.cmd == "COPY"
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    rooms = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    assert rooms <= wheel
    serving = {command.value[0] for command in commands(ROOT / "deploy/serving.Dockerfile") if command.cmd == "COPY"}
    assert rooms & serving == {"serving"}


def test_what_the_image_starts_by_itself_is_a_real_command() -> None:
    file = ROOT / "deploy" / "control.Dockerfile"
    for stage in ("control", "node"):
        assert last(file, stage, "entrypoint") == ("portside",)
        assert parse(last(file, stage, "cmd")) == "up"


def test_compose_builds_stages_that_exist() -> None:
    for service in services().values():
        build = service.get("build")
        if build is None:
            continue
        file = ROOT / build["context"] / build["dockerfile"]
        assert file in FILES
        assert build.get("target", list(stages(file))[-1]) in stages(file)


def test_the_image_has_the_interpreter_that_the_settings_name() -> None:
    named = services()["node"]["environment"]["PORTSIDE_SERVING_PYTHON"]
    copied = [
        command.value[-1] for command in lineage(ROOT / "deploy/control.Dockerfile", "node") if command.cmd == "COPY"
    ]
    assert any(named.startswith(f"{folder}/") for folder in copied)
