"""`portside demo`: a platform of its own, the main job over its HTTP API, a printed line for each step."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from platformdirs import user_data_path

from cli.batch_tour import score_rows
from cli.child import running_platform
from cli.client import Platform
from cli.failure import CommandFailed
from cli.prediction import curl_command
from cli.receiver import listening
from cli.tour import Exhibit, Journal, Tour
from cli.words import seconds_in_words

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SHOWN = (("iris.onnx", "iris"), ("iris.pmml", "iris-pmml"))


def run_demo(data: Path | None, port: int | None, *, leave: bool) -> None:
    """Show everything; stay until Ctrl-C unless `leave`. Raises `CommandFailed` when any of it does not work."""
    journal = Journal()
    folder = data or user_data_path("portside-demo", appauthor=False)
    with _sigterm_as_interrupt(), running_platform(folder, port) as platform:
        journal.line("platform", f"{platform.url} is ready; its data lies in {folder}", journal.began)
        show(platform, journal)
        if leave:
            print("Stopping the platform, as --exit asks.", flush=True)
            return
        print("Ctrl-C stops the platform.", flush=True)
        with _until_interrupted():
            while True:
                time.sleep(3600)
    print("Stopped; `portside demo` on the same folder goes on from here.")


def show(platform: Platform, journal: Journal, token_file: Path | None = None) -> None:
    """The main job with each example on a platform that is there; `token_file` has what the commands shown need.

    Raises `CommandFailed` when any of it fails.
    """
    exhibits = [_exhibit(file, service) for file, service in SHOWN]
    with listening() as receiver:
        for exhibit in exhibits:
            Tour(platform, exhibit, receiver, journal).run()
    score_rows(platform, EXAMPLES / "iris.csv", exhibits[0].service, journal)
    first_s = journal.first_prediction_s
    print(f"\nAll of it worked: {seconds_in_words(first_s)} to the first prediction, {journal.elapsed} in all.\n")
    _conclude(platform, exhibits, token_file)


def _exhibit(name: str, service: str) -> Exhibit:
    file = EXAMPLES / name
    if not file.is_file():
        raise CommandFailed(
            f"{file} is not there: the demo shows its models.",
            details=["next: start a platform with `portside up`, then `portside deploy` a model of your own"],
        )
    return Exhibit.read(file, service)


def _conclude(platform: Platform, exhibits: list[Exhibit], token_file: Path | None) -> None:
    token = f" PORTSIDE_TOKEN=$(cat {token_file})" if token_file else ""
    print(f"API       {platform.url}/api/v1/services")
    print(f"OpenAPI   {platform.url}/api/v1/openapi.json")
    print(f"Client    export PORTSIDE_API={platform.url}{token}\n")
    for exhibit in exhibits:
        print(f"{curl_command(platform, exhibit.service, {'inputs': exhibit.records[0]})}\n")


@contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nStopping: what runs is finished; Ctrl-C again stops at once.", flush=True)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: with its platform."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
