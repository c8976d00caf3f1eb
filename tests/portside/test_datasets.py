"""Datasets by the client: what is sent for each way in, and a download that outlives lost connections."""

from pathlib import Path
from typing import Any

import pytest

from portside import ApiError, InvalidInput, UnexpectedAnswer
from tests.portside.documents import operation
from tests.portside.scripted import Drop, Say, asking

DASH = "%5B%22-%22%5D"
MADE = {"id": "dts_1", "name": "people", "status": "ready", "kind": "table", "rows": 2, "url": "u", "tags": []}


def piece(text: str, start: int, total: int, tag: str = '"a"') -> Say:
    """A range of a file whose text happens to be JSON."""
    where = f"bytes {start}-{start + len(text) - 1}/{total}"
    return Say(206, {"d": text}, {"content-range": where, "etag": tag})


@pytest.mark.parametrize(
    ("data", "said", "path", "body"),
    [
        (b"a,b\n", {"has_header": True, "null_values": ["-"]}, f"?name=people&has_header=true&null_values={DASH}",
         b"a,b\n"),
        (None, {"source_uri": "https://x/"}, "", b'{"name": "people", "source_uri": "https://x/"}'),
        (None, {"kind": "files"}, "", b'{"name": "people", "kind": "files"}'),
    ],
)  # fmt: skip
def test_each_way_in_is_one_request(data: bytes | None, said: dict[str, Any], path: str, body: bytes) -> None:
    with asking(Say(202, operation("succeeded")), Say(200, MADE)) as (server, platform):
        made = platform.datasets.create("people", data, **said)
    assert (made.name, made.rows, made.status) == ("people", 2, "ready")
    assert (server.seen[0].path, server.seen[0].body) == (f"/api/v1/datasets{path}", body)
    assert "idempotency-key" in server.seen[0].headers


def test_what_says_nothing_or_two_things_of_the_data_is_not_sent() -> None:
    wrong: list[tuple[bytes | None, dict[str, Any]]] = [(None, {}), (b"", {"upload": "upl_1"})]
    wrong.append((None, {"upload": "upl_1", "dataset": "d"}))
    with asking() as (_, platform):
        for data, said in wrong:
            with pytest.raises(InvalidInput):
                platform.datasets.create("people", data, **said)


def test_a_download_goes_on_after_a_lost_connection(tmp_path: Path) -> None:
    body = len(b'{"d": "abc"}')
    with asking(Say(200, MADE), piece("abc", 0, 2 * body), Drop(), piece("def", body, 2 * body)) as (server, platform):
        found = platform.datasets.get("people").download(tmp_path / "people")
    assert found.read_text() == '{"d": "abc"}{"d": "def"}'
    assert server.seen[3].headers["range"].startswith(f"bytes={body}-")
    assert server.seen[3].headers["if-range"] == '"a"'
    assert list(tmp_path.iterdir()) == [found]


def test_data_that_change_meanwhile_are_not_mixed(tmp_path: Path) -> None:
    with asking(Say(200, MADE), piece("abc", 0, 99), Say(200, {"d": "all"})) as (_, platform):
        dataset = platform.datasets.get("people")
        with pytest.raises(UnexpectedAnswer, match="changed"):
            dataset.download(tmp_path / "people")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_download_that_is_refused(tmp_path: Path) -> None:
    with asking(Say(200, MADE), Say(409, {"status": 409, "code": "by_reference", "detail": "no"})) as (_, platform):
        dataset = platform.datasets.get("people")
        with pytest.raises(ApiError):
            dataset.download(tmp_path / "people")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_downloaded(tmp_path: Path) -> None:
    with asking(Say(200, MADE), Say(416, {"status": 416, "code": "range_not_satisfiable"})) as (_, platform):
        assert platform.datasets.get("people").download(tmp_path / "people").read_bytes() == b""
