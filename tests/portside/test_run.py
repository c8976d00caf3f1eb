"""`portside.run` as a script has it: by a descriptor, by a request where there is none, and outside of any run."""

import json
import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

import portside.run


class Number:
    """As numpy's and torch's numbers are."""

    def item(self) -> float:
        return 0.5


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PORTSIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, object]]]:
    """An API that keeps what it is sent: path, authorization, body."""
    heard: list[tuple[str, str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    given = {"API": f"http://127.0.0.1:{server.server_port}", "JOB": "train", "RUN": "3", "TOKEN": "pst_x"}
    for name, value in given.items():
        monkeypatch.setenv(f"PORTSIDE_{name}", value)
    yield heard
    server.shutdown()
    server.server_close()


def test_reports_go_down_the_pipe_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv("PORTSIDE_REPORT_FD", str(writing))
    portside.run.log(step=3, loss=Number(), word="done", nothing=None)
    portside.run.progress(140, "epoch 4")
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert [json.loads(line) for line in lines] == [
            {"type": "metrics", "step": 3, "values": {"loss": 0.5, "word": "done", "nothing": None}},
            {"type": "progress", "percent": 100.0, "detail": "epoch 4"},
        ]


def test_without_a_pipe_they_go_to_the_api(api: list[tuple[str, str, object]]) -> None:
    portside.run.log(step=1, loss=0.25)
    [(path, authorization, body)] = api
    assert (path, authorization) == ("/api/v1/jobs/train/runs/3/reports", "Bearer pst_x")
    assert body == {"type": "metrics", "step": 1, "values": {"loss": 0.25}}


def test_an_api_that_is_away_ends_no_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"API": "http://127.0.0.1:1", "JOB": "a", "RUN": "1", "TOKEN": "pst_x"}.items():
        monkeypatch.setenv(f"PORTSIDE_{name}", value)
    portside.run.log(loss=1)
    assert "could not be sent" in capsys.readouterr().err


def test_outside_of_a_run_it_does_nothing_and_looks_below_the_current_folder(tmp_path: Path) -> None:
    portside.run.log(loss=1)
    assert portside.run.inputs() == {}
    (tmp_path / "inputs" / "train").mkdir(parents=True)
    file = tmp_path / "inputs" / "train" / "rows.csv"
    file.write_text("a\n1\n")
    assert portside.run.inputs() == {"train": Path("inputs/train/rows.csv")}
    (tmp_path / "inputs" / "train" / "more.csv").write_text("a\n1\n")
    assert portside.run.inputs() == {"train": Path("inputs/train")}
    assert portside.run.outputs.is_dir()
    with pytest.raises(AttributeError):
        _ = portside.run.nothing


def test_it_needs_the_standard_library_alone() -> None:
    source = Path(portside.run.__file__).read_text("utf-8")
    names = {line.split()[1].partition(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert names <= sys.stdlib_module_names
