"""Rows and forms are sent as they are; everything else is JSON."""

import io
import json
from email import message_from_bytes
from pathlib import Path

import pytest

from cli.failure import CommandFailed
from cli.questions import Question, read_question

ROWS = b"a;b\r\n1;\xe4\r\n"


@pytest.mark.parametrize("name", ["rows.csv", "rows.TSV"])
def test_a_file_of_rows_is_sent_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ROWS)
    assert read_question([f"@{tmp_path / name}"], [], is_csv=False) == Question(ROWS, "text/csv")


def test_rows_come_from_stdin_or_from_a_file_of_any_name_when_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.txt").write_bytes(ROWS)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(ROWS)))
    assert read_question(["-"], [], is_csv=True) == Question(ROWS, "text/csv")
    assert read_question([f"@{tmp_path / 'rows.txt'}"], [], is_csv=True) == Question(ROWS, "text/csv")


def test_words_are_json_and_none_are_no_question() -> None:
    asked = read_question(["age=42"], [], is_csv=False)
    assert asked
    assert (json.loads(asked.content), asked.media_type) == ({"inputs": {"age": 42}}, "application/json")
    assert read_question([], [], is_csv=False) is None


def test_a_form_has_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "photo.npy").write_bytes(b"\x93NUMPY\r\n--")
    asked = read_question([], ["kind=a=b", f"image=@{tmp_path / 'photo.npy'}"], is_csv=False)
    assert asked
    form = message_from_bytes(b"Content-Type: " + asked.media_type.encode() + b"\r\n\r\n" + asked.content)
    _, *parts = form.walk()
    assert [part.get_param("name", header="content-disposition") for part in parts] == ["kind", "image"]
    assert [part.get_filename() for part in parts] == [None, "photo.npy"]
    assert [part.get_payload(decode=True) for part in parts] == [b"a=b", b"\x93NUMPY\r\n--"]


@pytest.mark.parametrize(
    ("given", "parts", "is_csv"),
    [(["a=1"], [], True), ([], [], True), (["a=1"], ["b=2"], False), ([], ["b"], False), (["@none.csv"], [], False)],
)
def test_what_cannot_be_meant_is_a_usage_error(given: list[str], parts: list[str], is_csv: bool) -> None:
    with pytest.raises(CommandFailed) as refused:
        read_question(given, parts, is_csv=is_csv)
    assert refused.value.exit_status == 2
