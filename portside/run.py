"""What a script says to the platform that runs it: figures, how far it is; and where its files are.

    import portside.run

    portside.run.log(step=3, loss=0.21)
    portside.run.progress(40, "epoch 4")
    frame = pandas.read_csv(portside.run.inputs()["train"])
    model.save(portside.run.outputs / "model.onnx")

It needs nothing but the standard library. Outside a run it does nothing, so that a script can be tried anywhere: files
are looked for below the current folder then.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

REPORT_FD = "PORTSIDE_REPORT_FD"
ANSWERED_WITHIN_S = 10
LONGEST_LINE = 60_000


def log(step: int | None = None, **values: object) -> None:
    """Report figures or words, `step` being the place on the axis: `log(step=3, loss=0.21)`."""
    plain = {str(name): _plain(value) for name, value in values.items()}
    _send({"type": "metrics", "step": None if step is None else int(step), "values": plain})


def progress(percent: float, detail: str | None = None) -> None:
    """Say how far the work is, from 0 to 100, and in words what it is about."""
    bounded = min(100.0, max(0.0, float(percent)))
    _send({"type": "progress", "percent": bounded, "detail": None if detail is None else str(detail)[:200]})


def inputs() -> dict[str, Path]:
    """The datasets by the names that the job gives them: a file, or a folder where one has several."""
    return _files("PORTSIDE_INPUTS", "inputs")


def models() -> dict[str, Path]:
    """The files of model versions by the names that the job gives them."""
    return _files("PORTSIDE_MODELS", "models")


def _files(variable: str, otherwise: str) -> dict[str, Path]:
    folder = Path(os.environ.get(variable, otherwise))
    if not folder.is_dir():
        return {}
    return {each.name: _only_one(each) for each in sorted(folder.iterdir())}


def _only_one(folder: Path) -> Path:
    found = list(folder.iterdir()) if folder.is_dir() else []
    return found[0] if len(found) == 1 and found[0].is_file() else folder


def _folder(variable: str, otherwise: str) -> Path:
    folder = Path(os.environ.get(variable, otherwise))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _plain(value: object) -> object:
    """A number, a word or nothing; arrays of one number are that number."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _send(report: dict[str, object]) -> None:
    line = json.dumps(report).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        raise ValueError(f"a report has at most {LONGEST_LINE} bytes, and this one has {len(line)}")
    if (given := os.environ.get(REPORT_FD)) is not None:
        try:
            os.write(int(given), line)
            return
        except OSError:  # a child that did not inherit it
            pass
    where = [os.environ.get(name) for name in ("PORTSIDE_API", "PORTSIDE_JOB", "PORTSIDE_RUN", "PORTSIDE_TOKEN")]
    if all(where):
        api, job, run, token = where
        request = urllib.request.Request(  # noqa: S310  (the platform gave the address)
            f"{api}/api/v1/jobs/{job}/runs/{run}/reports",
            line,
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        try:
            urllib.request.urlopen(request, timeout=ANSWERED_WITHIN_S).close()  # noqa: S310
        except OSError as error:  # no reason to end what may have worked for hours
            sys.stderr.write(f"portside.run: a report could not be sent: {error}\n")


def __getattr__(name: str) -> Path:
    """`outputs`: what lies in it becomes the run's artifacts. `checkpoint`: what lies in it survives retries."""
    if name == "outputs":
        return _folder("PORTSIDE_OUTPUTS", "outputs")
    if name == "checkpoint":
        return _folder("PORTSIDE_CHECKPOINT", "checkpoint")
    raise AttributeError(f"module 'portside.run' has no attribute {name!r}")
