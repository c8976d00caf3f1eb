"""What schemathesis has done and found, read from its reports: the NDJSON of all cases and the JSON of the run."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NO_SERVER_ERROR = "not_a_server_error"
OUTPUT = "output.txt"
COVERED = re.compile(r"API Links: +(\d+) covered / (\d+) selected")
# `2026-01-31T12:00:00.123Z ERROR   api.edge: …`
# SQLAlchemy's pool logs so that it gives up the connection of work that is canceled, as superseded operations are.
LOGGED_ERROR = re.compile(r"\S+ (ERROR|CRITICAL) +(?!sqlalchemy\.pool)")
REPORTS = ("cases.ndjson", "run.json")


@dataclass
class Summary:
    """Grows with each run."""

    operations: set[str] = field(default_factory=set)
    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    failed: int = 0
    server_errors: int = 0
    explained: int = 0
    given_up: int = 0
    links: tuple[int, int] = (0, 0)

    def read(self, folder: Path) -> None:
        """Add a run that has written its reports into the folder."""
        cases, run = (folder / name for name in REPORTS)
        with cases.open(encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                if (scenario := event.get("ScenarioFinished")) is not None:
                    self._read_scenario(scenario["phase"], scenario["recorder"])
                elif (error := event.get("NonFatalError")) is not None:
                    self._read_error(error["label"], error["value"])
        told = json.loads(run.read_text("utf-8"))
        self.failed += told["test_cases"]["with_failures"]
        self.explained += told["filtered"]
        if (covered := COVERED.search((folder / OUTPUT).read_text("utf-8"))) is not None:
            self.links = max(self.links, (int(covered[1]), int(covered[2])))
        for each in told["failures"]:
            self._note(f"{each['title']} {each['operations']}", json.dumps(each))

    def read_log(self, file: Path) -> None:
        """What the platform logs as an error is a fault, whatever it has answered."""
        for line in file.read_text("utf-8").splitlines():
            if LOGGED_ERROR.match(line):
                self._note(f"logged: {line[25:90]}", line[:700])

    def _read_error(self, label: str, error: Mapping[str, Any]) -> None:
        """What schemathesis could not go on with.

        Hypothesis, below it, repeats a sequence of calls and gives it up where the answers are others: a name is taken
        by then, an operation has ended. That says nothing of either.
        """
        if error["type"] == "ExceptionGroup" and str(error["message"]).startswith("Hypothesis found"):
            self.given_up += 1
        else:
            self._note(f"{error['type']} {label}", str(error["message"])[:1000])

    def _read_scenario(self, phase: str, recorder: Mapping[str, Any]) -> None:
        if phase != "stateful":  # there the label is of all of them
            self.operations.add(recorder["label"])
        for key, case in recorder.get("cases", {}).items():
            operation = f"{case['value']['method']} {case['value']['path']}"
            interaction = recorder.get("interactions", {}).get(key)
            self.cases[phase] += 1
            checks = recorder.get("checks", {}).get(key, ())
            self.checks.update(check["name"] for check in checks)
            failed = [check["name"] for check in checks if check["status"] != "success"]
            if interaction is not None:
                self._read_interaction(operation, interaction, failed)

    def _read_interaction(self, operation: str, interaction: Mapping[str, Any], failed: list[str]) -> None:
        request, response = interaction["request"], interaction.get("response")
        status = "none" if response is None else str(response["status_code"])
        self.statuses[status] += 1
        is_server_error = response is None or NO_SERVER_ERROR in failed
        self.server_errors += is_server_error
        if failed or is_server_error:
            answered = b"" if response is None else _content(response)
            sent = f"{request['method']} {request['uri']} {request['headers']} {_content(request)!r}"
            self._note(f"{status} {operation} {failed}", f"{sent:.700} answered {answered!r:.700}")

    def _note(self, what: str, how: str) -> None:
        """The first of its kind is told; the reports hold all."""
        self.faults.setdefault(what, how)

    def lines(self) -> Iterator[str]:
        """The table, then each fault."""
        yield f"{len(self.operations)} operations, {sum(self.cases.values())} cases, {sum(self.checks.values())} checks"
        yield f"{self.server_errors} answers of 500 and more or none, {self.failed} cases with a failure"
        yield f"{self.explained} refusals that no schema foretells (tests/fuzz/hooks.py)"
        yield f"{self.links[0]} of {self.links[1]} links followed"
        yield f"{self.given_up} times Hypothesis gave up sequences that it could not repeat"
        for name, counted in (("phase", self.cases), ("status", self.statuses), ("check", self.checks)):
            yield from ("", f"| {name} | times |", "|---|---|")
            yield from (f"| {key} | {counted[key]} |" for key in sorted(counted))
        for what, how in self.faults.items():
            yield from ("", what, f"  {how}")


def _content(message: Mapping[str, Any]) -> bytes:
    held = message.get("content") or message.get("body") or {}
    return base64.b64decode(held.get("$base64", ""))
