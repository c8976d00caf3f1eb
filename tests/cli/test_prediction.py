"""What the words of `portside predict` mean, and a curl line that a shell takes as it stands."""

import io
import json
import shlex
from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed
from cli.prediction import curl_command, read_body, shown_command


def test_pairs_make_one_record_of_json_values_and_text() -> None:
    assert read_body(["age=42", "job=clerk", "v=[1, 2]", "ok=true", "empty=", "eq=a=b"]) == {
        "inputs": {"age": 42, "job": "clerk", "v": [1, 2], "ok": True, "empty": "", "eq": "a=b"}
    }


@pytest.mark.parametrize("body", [{"inputs": {"a": 1}}, {"columns": ["a"], "data": [[1]]}, {"tensors": {"a": [[1]]}}])
def test_a_whole_body_in_a_file_is_sent_as_it_is(tmp_path: Path, body: object) -> None:
    (tmp_path / "body.json").write_text(json.dumps(body))
    assert read_body([f"@{tmp_path / 'body.json'}"]) == body


@pytest.mark.parametrize("records", [{"a": 1}, [{"a": 1}, {"a": 2}]])
def test_bare_records_on_stdin_become_inputs(records: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(records)))
    assert read_body(["-"]) == {"inputs": records}


@pytest.mark.parametrize("given", [["age"], ["=1"], ["@missing.json"], ["a=1", "@x.json"]])
def test_words_that_are_no_input_are_a_usage_error(given: list[str]) -> None:
    with pytest.raises(CommandFailed) as refused:
        read_body(given)
    assert refused.value.exit_status == 2


def test_a_file_without_its_sign_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    with pytest.raises(CommandFailed) as refused:
        read_body([str(tmp_path / "x.csv")])
    assert refused.value.details == (f"hint: did you mean @{tmp_path / 'x.csv'}?",)


def test_a_file_that_is_not_there_is_said_in_words() -> None:
    with pytest.raises(CommandFailed, match=r"^missing\.json cannot be read \(No such file or directory\)\.$"):
        read_body(["@missing.json"])


def test_a_file_that_is_no_json_says_where(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{\n1}")
    with pytest.raises(CommandFailed, match=r"x\.json is not JSON: .*line 2"):
        read_body([f"@{tmp_path / 'x.json'}"])


def test_a_long_sample_is_not_shown_unasked() -> None:
    platform, short, long = Platform("http://localhost:1"), {"inputs": {"a": 1}}, {"inputs": {"a": [1.0] * 1000}}
    assert shown_command(platform, "iris", short) == curl_command(platform, "iris", short)
    assert shown_command(platform, "iris", long) == "portside curl iris  # its sample is too long to show"


def test_the_curl_line_survives_quotes_and_names_the_token_without_showing_it() -> None:
    body = {"inputs": {"it's": 'a "b" $c'}}
    words = shlex.split(curl_command(Platform("http://localhost:1", "pst_secret"), "iris", body))
    assert words[:3] == ["curl", "-s", "http://localhost:1/api/v1/services/iris/predict"]
    assert json.loads(words[-1]) == body
    assert "authorization: Bearer $PORTSIDE_TOKEN" in words
