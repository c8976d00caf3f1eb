"""What is said about a version, as it is typed."""

from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.output import Output
from cli.statements import read_features, read_object, say_about
from cli.tokens import create_token
from tests.portside.scripted import Say, scripted


def test_features_are_names_for_each_input_or_a_file_with_the_same(tmp_path: Path) -> None:
    assert read_features(["x=a, b,c", "y=d"]) == {"x": ["a", "b", "c"], "y": ["d"]}
    (tmp_path / "names.json").write_text('{"x": ["a"]}')
    assert read_features([f"@{tmp_path / 'names.json'}"]) == {"x": ["a"]}
    assert read_features([]) == {}


@pytest.mark.parametrize("given", [["x"], ["=a"], ["@none.json"], ["x=a", "@none.json"]])
def test_any_other_spelling_of_features_is_a_usage_error(given: list[str]) -> None:
    with pytest.raises(CommandFailed) as refused:
        read_features(given)
    assert refused.value.exit_status is Exit.USAGE


@pytest.mark.parametrize("given", ["[1]", "{", "@none.json"])
def test_metrics_are_an_object(given: str) -> None:
    assert read_object('{"auc": 0.9}', "--metrics") == {"auc": 0.9}
    with pytest.raises(CommandFailed, match="--metrics") as refused:
        read_object(given, "--metrics")
    assert refused.value.exit_status is Exit.USAGE


def test_what_only_versions_have_is_not_said_of_a_model() -> None:
    with Platform("http://127.0.0.1:9") as platform:
        for said, word in (({"features": {"x": ["a"]}}, "--features"), ({}, "Nothing to change")):
            with pytest.raises(CommandFailed, match=word) as refused:
                say_about(platform, "iris", said, Output(quiet=True))
            assert refused.value.exit_status is Exit.USAGE


def test_a_token_whose_answer_was_lost_says_how_to_get_rid_of_it() -> None:
    replay = Say(201, {"id": "tok_1", "name": "ci", "expires_at": None})
    with (
        scripted(replay) as server,
        Platform(server.url) as platform,
        pytest.raises(CommandFailed, match="lost") as lost,
    ):
        create_token(platform, "ci", None, Output(quiet=True))
    assert "portside tokens revoke tok_1" in lost.value.details[0]
