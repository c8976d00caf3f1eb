"""Alerts, runbooks and figures hold together: each alert has its page, and asks only for what a process shows."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from cli.catalogue import figures

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
RUNBOOKS = ROOT / "docs/how-to/runbooks"
SECTIONS = ["Look", "Causes", "Do", "How it heals"]
# What Prometheus itself adds, and what its library shows of a process on Linux.
OF_PROMETHEUS = {
    "up": frozenset[str](),
    "process_start_time_seconds": frozenset(),
    "process_cpu_seconds_total": frozenset(),
}
EVERYWHERE = frozenset({"job", "instance"})
FENCE = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule."""

    name: str
    expression: str
    severity: str
    summary: str
    runbook: str


def alerts() -> Sequence[Alert]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [_alert(rule) for group in groups for rule in group["rules"]]


def _alert(rule: Mapping[str, object]) -> Alert:
    labels, notes = rule["labels"], rule["annotations"]
    assert isinstance(labels, dict)
    assert isinstance(notes, dict)
    name, expression = str(rule["alert"]), str(rule["expr"])
    return Alert(name, expression, labels["severity"], notes["summary"], notes["runbook_url"])


def in_pages() -> Sequence[tuple[str, str]]:
    """Every expression of the runbooks and of the how-to, with its page."""
    pages = [*sorted(RUNBOOKS.glob("*.md")), RUNBOOKS.parent / "observe.md"]
    blocks = [(page.name, block) for page in pages for block in FENCE.findall(page.read_text("utf-8"))]
    return [(name, line) for name, block in blocks for line in block.splitlines() if line.strip()]


def shown() -> Mapping[str, frozenset[str]]:
    """The labels of every series that can be asked for, by its name."""
    own = {series: frozenset(figure.labels) for figure in figures() for series in figure.series}
    return {**own, **OF_PROMETHEUS}


def faults(expression: str) -> list[str]:
    """What an expression asks for and nobody shows."""
    known, found, labels_there = shown(), [], set[str]()
    tree = promql.parse(expression)
    for selector in _selectors(tree):
        name = str(selector.name)
        if name not in known:
            found.append(f"there is no series {name}")
            continue
        own = known[name] | EVERYWHERE | ({"le"} if name.endswith("_bucket") else set())
        labels_there |= own
        wrong = {matcher.name for matcher in selector.matchers.matchers} - own
        found += [f"{name} has no label {label}" for label in sorted(wrong)]
    grouped = {
        label.strip() for inside in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in inside.split(",")
    }
    return found + [f"no series has the label {label}" for label in sorted(grouped - labels_there)]


def _selectors(tree: object) -> Iterator[promql.VectorSelector]:
    """Every series that an expression reads."""
    if isinstance(tree, promql.VectorSelector):
        yield tree
    parts = ("expr", "lhs", "rhs", "param", "vector_selector")
    below = [getattr(tree, part, None) for part in parts] + list(getattr(tree, "args", None) or [])
    for part in below:
        if part is not None and not isinstance(part, str | int | float):
            yield from _selectors(part)


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    pages = {f"docs/how-to/runbooks/{page.name}" for page in RUNBOOKS.glob("*.md")}
    assert sorted(alert.runbook for alert in alerts()) == sorted(pages)
    assert len({alert.name for alert in alerts()}) == len(alerts())


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_says_what_and_how_bad_and_its_page_what_to_do(alert: Alert) -> None:
    assert alert.severity in ("critical", "warning")
    assert alert.summary
    page = (ROOT / alert.runbook).read_text("utf-8")
    assert page.startswith(f"# {alert.name}\n\n**{alert.severity.capitalize()}.** ")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_asks_only_for_what_a_process_shows(alert: Alert) -> None:
    assert faults(alert.expression) == []
    labels = set(re.findall(r"\$labels\.(\w+)", alert.summary))
    assert labels <= EVERYWHERE.union(*shown().values())


def test_every_expression_of_the_pages_can_be_asked() -> None:
    asked = in_pages()
    assert len(asked) > len(alerts())
    assert {page: found for page, expression in asked if (found := faults(expression))} == {}


def test_what_nobody_shows_is_found() -> None:
    assert faults("rate(portside_claims[5m])") == ["there is no series portside_claims"]
    assert faults('portside_queue_depth{status="x"}') == ["portside_queue_depth has no label status"]
    assert faults("sum by (kind) (portside_queue_depth)") == ["no series has the label kind"]


def test_prometheus_itself_accepts_the_rules() -> None:
    """By its own tool, where it is installed; its expressions were parsed above in any case."""
    tool = shutil.which("promtool")
    if tool is not None:
        checked = subprocess.run(
            [tool, "check", "rules", str(RULES)], capture_output=True, text=True, timeout=30, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
