"""docker-compose.yml is what the compose specification allows, confined, pinned, and made of our real commands."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from core.settings import Settings
from deploy.stack.child import StackFailed
from deploy.stack.compose import COMPOSE_FILE, VARIABLE, read_compose, read_variables
from tests.deploy.commands import parse
from tests.deploy.compose import ROOT, document, fresh_secrets, services

# The compose specification's schema as its reference implementation carries it (Apache-2.0):
# github.com/compose-spec/compose-go v2.4.7, schema/compose-spec.json.
SCHEMA = Path(__file__).with_name("compose-spec.json")
ONE_SHOTS = {"migrate", "bucket"}
OURS = {"api", "worker", "node", "migrate"}
# Images whose own user is not root, by their authors' Dockerfiles; the others say `user:` or are ours.
NOT_ROOT_BY_ITSELF = {"haproxy", "prom/prometheus"}
NAMES = sorted(services())
TEXT = COMPOSE_FILE.read_text("utf-8")


def required_variables() -> set[str]:
    return {match["name"] for match in VARIABLE.finditer(TEXT) if match["kind"] == "?"}


def test_it_is_valid_by_the_compose_specification() -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    errors = [
        f"{'/'.join(map(str, error.path))}: {error.message}"
        for error in jsonschema.Draft201909Validator(schema).iter_errors(document())
    ]
    assert errors == []


def test_the_schema_can_tell() -> None:
    broken = {**document(), "services": {"api": {"image": "x", "replicas": 2}}}
    assert not jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text("utf-8"))).is_valid(broken)


def test_it_has_the_shape_of_the_architecture() -> None:
    assert set(NAMES) == {"proxy", *OURS, "postgres", "redis", "minio", "bucket", "prometheus"}
    replicas = {name: service.get("deploy", {}).get("replicas", 1) for name, service in services().items()}
    assert {name for name, count in replicas.items() if count == 2} == {"api", "worker"}


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_confined(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize("name", NAMES)
def test_a_service_comes_back_and_says_how_it_is(name: str) -> None:
    service = services()[name]
    if name in ONE_SHOTS:
        assert service["restart"] == "on-failure:5"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned_and_does_not_run_as_root(name: str) -> None:
    service = services()[name]
    repository, _, tag = service["image"].partition(":")
    assert re.search(r"\d+\.\d+|RELEASE", tag), f"{service['image']} has no version"
    assert "." not in repository.partition("/")[0], "an image name with a registry's address"
    assert "build" in service or "user" in service or repository in NOT_ROOT_BY_ITSELF
    assert service.get("user", "") not in ("root", "0")


@pytest.mark.parametrize("name", NAMES)
def test_who_is_waited_for_is_waited_for_on_a_condition(name: str) -> None:
    for other, how in services()[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
        assert how["condition"] == wanted
        # Who only exists in a profile must not be required by who always exists.
        assert (
            how.get("required", True) is not bool(services()[other].get("profiles")) or "profiles" in services()[name]
        )


def test_no_secret_stands_in_the_file_and_each_is_made_and_explained(tmp_path: Path) -> None:
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if name.endswith(("PASSWORD", "TOKEN", "KEY", "AUTH")) and name != "PORTSIDE_REQUIRE_TOKEN":
                assert VARIABLE.fullmatch(value), name
            if "://" in str(value) and "@" in str(value):
                assert re.search(r":\$\{[^}]*\}@", value), name
    made = fresh_secrets(tmp_path)
    assert required_variables() <= {name for name, value in made.items() if value}
    assert required_variables() <= set(read_variables(ROOT / "deploy" / "portside.env.example"))
    assert made != fresh_secrets(tmp_path)
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert ".*" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_every_variable_of_the_file_is_in_the_example() -> None:
    example = (ROOT / "deploy" / "portside.env.example").read_text("utf-8")
    for name in {match["name"] for match in VARIABLE.finditer(TEXT)} - {None}:
        assert f"{name}=" in example, f"{name} is not explained in the example"


def test_a_required_variable_that_is_missing_is_named(tmp_path: Path) -> None:
    variables = fresh_secrets(tmp_path)
    del variables["REDIS_PASSWORD"]
    with pytest.raises(StackFailed, match="REDIS_PASSWORD"):
        read_compose(variables)


def test_settings_are_real_ones_with_values_that_they_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in read_compose(fresh_secrets(tmp_path)).items():
        if name not in OURS:
            continue
        with monkeypatch.context() as patch:
            for variable, value in service.environment.items():
                assert variable.removeprefix("PORTSIDE_").lower() in Settings.model_fields, f"{variable} of {name}"
                patch.setenv(variable, value)
            settings = Settings()
        assert settings.database.startswith("postgresql://")
        assert settings.data == Path("/data")


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_is_a_real_one(name: str) -> None:
    assert parse(services()[name]["command"]) == name


def test_what_is_mounted_from_the_repository_is_there() -> None:
    for service in services().values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("/"):
                assert source in document()["volumes"]


def test_the_drain_ends_before_the_container_does() -> None:
    for name in OURS:
        service = services()[name]
        assert float(service["environment"]["PORTSIDE_DRAIN_S"]) < float(service["stop_grace_period"].rstrip("s"))


def test_the_node_is_known_by_one_address_to_itself_and_to_the_apis() -> None:
    # It has one on each of its networks, and what it listens on must be what the APIs call.
    networks = services()["node"]["networks"]
    named = [
        name
        for name, how in networks.items()
        if services()["node"]["environment"]["PORTSIDE_NODE_HOST"] in how.get("aliases", ())
    ]
    assert len(named) == 1
    assert named[0] in services()["api"]["networks"]
