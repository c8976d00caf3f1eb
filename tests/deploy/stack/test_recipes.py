"""`make stack` and docker-compose.yml are in step: the same commands, the same settings, as many of each."""

from pathlib import Path

import pytest

from deploy.stack.compose import ComposeService, read_compose
from deploy.stack.process import Recipe
from deploy.stack.prometheus import configuration as prometheus_configuration
from deploy.stack.recipes import MIGRATE, ROLES, Addresses, Plan
from tests.deploy.compose import fresh_secrets, services

ADDRESSES = Addresses("postgresql://here/db", "redis://here/0", "http://here:9000")
# Hosts, ports and paths. What is not listed must be the same; a new setting is the same unless it is added here.
MAY_DIFFER = {
    *("PORTSIDE_DATA", "PORTSIDE_CACHE", "PORTSIDE_SERVING_PYTHON"),
    *("PORTSIDE_DATABASE_URL", "PORTSIDE_BROKER_URL", "PORTSIDE_S3_ENDPOINT"),
    *(
        "PORTSIDE_HOST",
        "PORTSIDE_PORT",
        "PORTSIDE_GRPC_PORT",
        "PORTSIDE_NODE_HOST",
        "PORTSIDE_METRICS_HOST",
        "PORTSIDE_METRICS_PORT",
    ),
}


@pytest.fixture
def composed(tmp_path: Path) -> dict[str, ComposeService]:
    return read_compose(fresh_secrets(tmp_path))


@pytest.fixture
def recipes(composed: dict[str, ComposeService], tmp_path: Path) -> list[Recipe]:
    plan = Plan(composed, tmp_path, ADDRESSES)
    return [*plan.recipes(), plan.migration()]


def test_there_are_as_many_processes_as_containers(recipes: list[Recipe]) -> None:
    names = ["api-1", "api-2", "worker-1", "worker-2", "node-1", "migrate"]
    assert [recipe.name for recipe in recipes] == names
    ours = {name for name, service in services().items() if "control.Dockerfile" in str(service.get("build"))}
    assert ours == {*ROLES, MIGRATE}


def test_each_runs_its_containers_command_with_its_containers_settings(
    recipes: list[Recipe], composed: dict[str, ComposeService]
) -> None:
    for recipe in recipes:
        service = composed[recipe.role]
        assert tuple(recipe.command) == service.command
        assert set(recipe.settings) == set(service.environment)
        differing = {name for name, value in recipe.settings.items() if value != service.environment[name]}
        assert differing <= MAY_DIFFER


def test_each_is_asked_what_its_containers_health_check_asks(
    recipes: list[Recipe], composed: dict[str, ComposeService]
) -> None:
    paths = {recipe.role: "/" + recipe.health.split("/", 3)[3] for recipe in recipes if recipe.role != MIGRATE}
    assert paths == {"api": "/readyz", "worker": "/metrics", "node": "/metrics"}
    for role, path in paths.items():
        port = composed[role].environment["PORTSIDE_PORT" if role == "api" else "PORTSIDE_METRICS_PORT"]
        assert f"http://127.0.0.1:{port}{path}" in composed[role].health[-1]


def test_processes_share_no_folder_and_no_port(recipes: list[Recipe]) -> None:
    long_lived = recipes[:-1]
    assert len({recipe.settings["PORTSIDE_DATA"] for recipe in long_lived}) == len(long_lived)
    ports = {recipe.settings[f"PORTSIDE_{kind}PORT"] for recipe in recipes[:2] for kind in ("", "METRICS_")}
    assert len(ports | {recipe.figures.split(":")[1] for recipe in long_lived}) == 2 + len(long_lived)


def test_extra_settings_reach_their_role_only(composed: dict[str, ComposeService], tmp_path: Path) -> None:
    extra = {"": {"PORTSIDE_LEASE_S": "3"}, "worker": {"PORTSIDE_FAILPOINTS": "after_claim=kill"}}
    for recipe in Plan(composed, tmp_path, ADDRESSES, extra).recipes():
        assert recipe.settings["PORTSIDE_LEASE_S"] == "3"
        assert ("PORTSIDE_FAILPOINTS" in recipe.settings) is (recipe.role == "worker")


def test_prometheus_asks_the_same_jobs_at_other_addresses() -> None:
    document = prometheus_configuration({role: [f"127.0.0.1:{number}"] for number, role in enumerate(ROLES)})
    assert [job["job_name"] for job in document["scrape_configs"]] == list(ROLES)
    assert all("dns_sd_configs" not in job for job in document["scrape_configs"])
    assert all(Path(file).is_file() for file in document["rule_files"])
