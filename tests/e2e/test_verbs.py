"""The groups of verbs on a real platform: what is data is on stdout, and the exit status says how it went."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.receiver import listening
from deploy.stack.child import free_port
from tests.e2e.commands import at_a_terminal, data, following, verb
from tests.e2e.platform import RunningPlatform

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LISTS = ("models", "services", "operations", "predictions", "webhooks", "tokens")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the model and the service `iris`, deployed by the verb that users begin with."""
    with RunningPlatform.start(tmp_path_factory.mktemp("verbs")) as platform:
        data(platform, "deploy", str(EXAMPLES / "iris.onnx"))
        yield platform


def names(running: RunningPlatform, *words: str) -> list[str]:
    return data(running, *words, "-o", "name").split()


@pytest.mark.parametrize("group", LISTS)
def test_each_list_is_printed_for_people_and_for_scripts(running: RunningPlatform, group: str) -> None:
    listed = json.loads(data(running, group, "ls", "--json"))
    assert yaml.safe_load(data(running, group, "ls", "-o", "yaml")) == listed
    assert len(names(running, group, "ls")) == len(listed)
    done = verb(running, group, "ls")
    assert (done.exit_status, bool(done.out)) == (0, bool(listed)), "a table, or a word on stderr"


def test_a_model_and_its_versions_are_uploaded_shown_named_and_deleted(running: RunningPlatform) -> None:
    assert data(running, "models", "upload", str(EXAMPLES / "diabetes.onnx"), "--name", "spare") == "spare@1\n"
    again = verb(running, "models", "upload", str(EXAMPLES / "diabetes.onnx"), "--name", "spare")
    assert "nothing to upload" in again.err
    assert "spare@best is version 1" in verb(running, "models", "alias", "spare@1", "best").err
    assert names(running, "models", "show", "spare@best") == ["spare@1"]
    assert "@best is 1" in data(running, "models", "show", "spare")
    assert "input " in data(running, "models", "show", "spare@latest")
    data(running, "models", "alias", "spare", "best", "--delete")
    assert verb(running, "models", "show", "spare@best").exit_status == 3
    data(running, "models", "delete", "spare@1", "--yes")
    data(running, "models", "delete", "spare", "--yes")
    assert names(running, "models", "ls") == ["iris"]


def test_a_version_is_downloaded_whole_and_tried_with_its_sample(
    running: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert data(running, "models", "download", "iris@latest") == "iris-1.onnx\n"
    assert (tmp_path / "iris-1.onnx").read_bytes() == (EXAMPLES / "iris.onnx").read_bytes()
    again = verb(running, "models", "download", "iris")
    assert (again.exit_status, "-o FILE" in again.err) == (2, True)
    nowhere = verb(running, "models", "download", "iris", "-o", str(tmp_path / "none" / "iris.onnx"))
    assert (nowhere.exit_status, "cannot be written" in nowhere.err) == (2, True)
    assert [each.name for each in tmp_path.iterdir()] == ["iris-1.onnx"]
    assert json.loads(data(running, "models", "test", "iris"))["outputs"]["label"]


def test_a_service_is_scaled_and_its_past_is_told(running: RunningPlatform) -> None:
    assert "2 replica(s) instead of 1" in verb(running, "services", "scale", "iris", "2").err
    assert "No change" in verb(running, "services", "scale", "iris", "2").err
    assert json.loads(data(running, "services", "show", "iris", "--json"))["replicas"] == 2
    operation = data(running, "services", "scale", "iris", "1", "--no-wait").strip()
    data(running, "operations", "wait", operation, "-q")
    assert "deploying → running" in data(running, "services", "history", "iris")
    assert "iris@1" in data(running, "services", "revisions", "iris")


def test_operations_are_told_and_what_cannot_be_is_a_conflict(running: RunningPlatform) -> None:
    found = names(running, "operations", "ls", "--kind", "service.deploy", "--of", "iris")
    assert "service.deploy of service iris" in data(running, "operations", "show", found[0])
    assert json.loads(data(running, "operations", "cancel", found[0], "--json"))["status"] == "succeeded"
    assert verb(running, "operations", "retry", found[0]).exit_status == 4
    assert verb(running, "operations", "wait", "op_none").exit_status == 3


def test_a_prediction_is_submitted_awaited_and_found_again(running: RunningPlatform) -> None:
    made = json.loads(data(running, "predictions", "create", "iris", "float_input=[5.1, 3.5, 1.4, 0.2]", "--json"))
    assert (made["status"], made["output"]["label"]) == ("succeeded", "setosa")
    submitted = data(running, "predictions", "create", "iris", "--no-wait").strip()
    assert "succeeded" in data(running, "predictions", "wait", submitted)
    assert names(running, "predictions", "ls", "--service", "iris", "-n", "2") == [submitted, made["id"]]
    assert "status      succeeded" in data(running, "predictions", "cancel", submitted), "what has ended stays"


def test_rows_are_submitted_and_the_right_ones_answered(running: RunningPlatform, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,c,d\n5.1,3.5,1.4,0.2\nwide,3.1,4.9,1.5\n")
    asked = ("predictions", "create", "iris", f"@{rows}", "--on-error", "record")
    kept = json.loads(data(running, *asked, "--json"))
    assert [each["index"] for each in kept["output"]["errors"]] == [1]
    assert verb(running, *asked, "--webhook", "https://example.com/").exit_status == 2
    assert "2 records" in data(running, "predictions", "ls", "-n", "1")


def test_a_prediction_that_fails_is_a_failure_that_names_the_field(running: RunningPlatform) -> None:
    done = verb(running, "predictions", "create", "iris", "float_input=x")
    assert (done.exit_status, done.out) == (1, "")
    assert "/inputs/float_input" in done.err


def test_places_of_a_vector_are_named_and_rows_are_answered_by_rows(running: RunningPlatform, tmp_path: Path) -> None:
    iris, places = str(EXAMPLES / "iris.onnx"), "float_input=a,b,c,d"
    assert data(running, "models", "upload", iris, "--name", "named", "--features", places) == "named@1\n"
    shown = json.loads(data(running, "models", "show", "named@1", "--json"))
    assert (shown["features"], list(shown["sample"])) == ({"float_input": ["a", "b", "c", "d"]}, ["a", "b", "c", "d"])
    assert "Restarting iris with the new names" in verb(running, "deploy", iris, "--features", places).err
    assert "No change" in verb(running, "deploy", iris, "--features", places).err
    rows = tmp_path / "rows.tsv"
    rows.write_text("d\tc\tb\ta\n0.2\t1.4\t3.5\t5.1\n1.5\tlong\t3.1\t6.9\n")
    refused = verb(running, "predict", "iris", f"@{rows}")
    assert (refused.exit_status, refused.out) == (1, "")
    assert "/inputs/1/c" in refused.err
    answer = data(running, "predict", "iris", f"@{rows}", "--on-error", "record").splitlines()
    assert [line.split(",")[0] for line in answer] == ["label", "setosa", ""]
    assert '"setosa"' in data(running, "predict", "iris", "-F", "a=5.1", "-F", "b=3.5", "-F", "c=1.4", "-F", "d=0.2")


def test_what_is_said_of_a_model_and_of_a_version_is_changed_and_forgotten(running: RunningPlatform) -> None:
    data(running, "models", "update", "named", "--description", "flowers", "--tag", "x", "--tag", "y")
    assert "description  flowers" in data(running, "models", "show", "named")
    changed = json.loads(data(running, "models", "update", "named", "--description", "", "--tag", "", "--json"))
    assert (changed["description"], changed["tags"]) == (None, [])
    words = ("--metrics", '{"auc": 0.9}', "--task", "tensor", "--features", "")
    version = json.loads(data(running, "models", "update", "named@1", *words, "--json"))
    assert (version["metrics"], version["task"], version["features"]) == ({"auc": 0.9}, "tensor", None)
    assert verb(running, "models", "update", "named@1", "--features", "float_input=a").exit_status == 1
    data(running, "models", "delete", "named", "--yes")


def test_a_token_is_shown_once_and_revoked(running: RunningPlatform) -> None:
    made = verb(running, "tokens", "create", "ci", "--expires-in", "1d")
    assert made.out.startswith("pst_")
    assert made.out.count("\n") == 1
    assert "not shown again" in made.err
    (token,) = names(running, "tokens", "ls")
    assert token in made.err
    listed = data(running, "tokens", "ls", "--json")
    assert made.out.strip() not in listed
    assert verb(running, "tokens", "create", "ci", "-o", "name").exit_status == 2
    data(running, "tokens", "revoke", token, "--yes")
    assert names(running, "tokens", "ls") == []
    assert verb(running, "--token", made.out.strip(), "ls").exit_status == 5


def test_many_are_paused_and_resumed_with_a_look_before(running: RunningPlatform) -> None:
    tried = verb(running, "pause", "--where", "model=iris", "--dry-run")
    assert "1 would be accepted" in tried.err
    assert names(running, "services", "ls") == ["iris"]
    assert "iris is running" in data(running, "status", "iris")
    assert "accepted" in data(running, "pause", "--where", "model=iris")
    assert "iris is paused" in data(running, "status", "iris")
    assert "accepted" in data(running, "services", "resume", "--all")
    assert "iris is running" in data(running, "status", "iris")
    assert verb(running, "operations", "retry", "--where", "kind=version.inspect").err.startswith("There is none")
    assert verb(running, "predictions", "cancel", "--where", "service=iris", "-o", "json").out == "[]\n"
    for words in (("iris", "--all"), (), ("iris", "--dry-run"), ("--where", "status")):
        assert verb(running, "pause", *words).exit_status == 2


def test_a_webhook_is_made_tried_and_forgotten(running: RunningPlatform) -> None:
    with listening() as receiver:
        made = json.loads(data(running, "webhooks", "create", receiver.url, "-e", "service.failed", "--json"))
        webhook = made["id"]
        assert made["secret"].startswith("whsec_")
        assert "delivered" in data(running, "webhooks", "test", webhook)
        delivery = names(running, "webhooks", "deliveries", webhook)[0]
        assert "delivered" in data(running, "webhooks", "redeliver", webhook, delivery)
        data(running, "webhooks", "redeliver", webhook, "--since", "1h", "--all")
        assert len({receiver.next(60).headers["webhook-id"] for _ in range(3)}) == 1, "the same event each time"
    renewed = json.loads(data(running, "webhooks", "rotate-secret", webhook, "--yes", "--json"))
    assert renewed["secret"] not in ("", made["secret"])
    assert "secret" not in json.loads(data(running, "webhooks", "show", webhook, "--json"))
    data(running, "webhooks", "delete", webhook, "--yes")
    assert verb(running, "webhooks", "show", webhook).exit_status == 3


def test_a_receiver_that_is_not_there_is_a_failure_that_says_why(running: RunningPlatform) -> None:
    webhook = json.loads(data(running, "webhooks", "create", "http://127.0.0.1:9/", "--json"))["id"]
    done = verb(running, "webhooks", "test", webhook)
    assert done.exit_status == 1
    assert "cannot connect to 127.0.0.1" in done.err
    data(running, "webhooks", "delete", webhook, "--yes")


def test_events_are_followed_as_they_happen(running: RunningPlatform) -> None:
    with following(running, "events", "--follow", "--type", "prediction", "--json", "-n", "1") as telling:
        assert telling.stdout
        telling.stdout.readline()  # the last one before; from now on it follows
        one = data(running, "predictions", "create", "iris", "--no-wait").strip()
        told = [json.loads(telling.stdout.readline()) for _ in range(2)]
    assert {(event["resource_id"], event["type"]) for event in told} == {
        (one, "prediction.started"),
        (one, "prediction.succeeded"),
    }
    assert one in data(running, "events", "--type", "prediction.succeeded")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("status", "irsi"), "iris"),
        (("models", "show", "irs"), "iris"),
        (("predict", "zzz"), "iris"),
    ],
)
def test_a_mistyped_name_is_told_the_nearest(running: RunningPlatform, words: tuple[str, ...], meant: str) -> None:
    done = verb(running, *words)
    assert (done.exit_status, done.out) == (3, "")
    assert meant in done.err


def test_what_destroys_asks_and_without_a_terminal_wants_to_be_told(running: RunningPlatform) -> None:
    for words in (("services", "delete", "iris"), ("delete", "iris"), ("models", "delete", "iris")):
        done = verb(running, *words)
        assert done.exit_status == 2
        assert "--yes" in done.err
    assert names(running, "services", "ls") == ["iris"]


def test_somebody_at_a_terminal_is_asked_and_may_say_no(running: RunningPlatform) -> None:
    said = at_a_terminal(running, "services", "delete", "iris", answer="n\n")
    assert said.exit_status == 1
    assert "Delete the service iris? [y/N]" in said.out
    assert names(running, "services", "ls") == ["iris"]


def test_somebody_at_a_terminal_sees_bars_and_a_pipe_has_none(running: RunningPlatform) -> None:
    upload = ("models", "upload", str(EXAMPLES / "wine-clusters.onnx"), "--name", "watched")
    said = at_a_terminal(running, *upload)
    assert said.exit_status == 0, said.out
    assert "/s" in said.out or " kB" in said.out
    assert "version.inspect of version watched@1: " in said.out
    assert "\x1b[32m" in said.out
    data(running, "models", "delete", "watched", "--yes")
    plain = at_a_terminal(running, *upload, NO_COLOR="1")
    assert "\x1b[32m" not in plain.out
    data(running, "models", "delete", "watched", "--yes")
    piped = verb(running, *upload)
    assert "\x1b" not in piped.out + piped.err
    assert "%" not in piped.err
    data(running, "models", "delete", "watched", "--yes")


def test_a_model_in_use_is_not_deleted(running: RunningPlatform) -> None:
    assert verb(running, "models", "delete", "iris", "--yes").exit_status == 4


def test_waiting_too_long_says_how_to_go_on(running: RunningPlatform) -> None:
    done = verb(running, "restart", "iris", "--timeout", "0.01")
    assert done.exit_status == 124
    following = done.err.partition("next: portside ")[2].split()
    data(running, *following)


def test_open_prints_an_address_that_answers(running: RunningPlatform) -> None:
    url = data(running, "open").strip()
    with running.client() as platform:
        assert platform.get(url.removeprefix(running.url))["openapi"].startswith("3.1")


def test_names_are_completed(running: RunningPlatform) -> None:
    environment = {
        **os.environ,
        "PORTSIDE_API": running.url,
        "_PORTSIDE_COMPLETE": "complete_bash",
        "COMP_WORDS": "portside services show ir",
        "COMP_CWORD": "3",
    }
    command = [sys.executable, "-m", "portside"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["iris"]
    nowhere = {**environment, "PORTSIDE_API": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_whoever_follows_events_is_told_that_the_platform_is_away_and_what_happened_meanwhile(tmp_path: Path) -> None:
    port = str(free_port())  # which nobody gets by chance while the platform is away
    with RunningPlatform.start(tmp_path, port) as first:
        data(first, "models", "upload", str(EXAMPLES / "iris.onnx"), "-q")
        with following(first, "events", "-f", "-t", "version", "-o", "name") as telling:
            assert telling.stdout
            assert telling.stderr
            telling.stdout.readline()
            first.end()
            assert "No platform answers" in telling.stderr.readline()
            with RunningPlatform.start(tmp_path, port) as second:
                data(second, "models", "upload", str(EXAMPLES / "diabetes.onnx"), "-q")
                told = telling.stdout.readline().strip()
                assert "is back" in telling.stderr.readline()
                assert names(second, "events", "--type", "version", "-n", "1") == [told]
