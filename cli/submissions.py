"""Durable predictions: submitted, waited for, listed, canceled."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from cli.client import Document, Platform, refusal
from cli.failure import CommandFailed, Exit
from cli.output import Columns, Output
from cli.prediction import sample_body
from cli.questions import Question
from cli.words import age_in_words, answer_in_words, seconds_in_words

PREDICTIONS = "/api/v1/predictions"
FINAL = ("succeeded", "failed", "canceled")
HOLD_S = 10.0
COLUMNS: Columns = {
    "prediction": lambda one: str(one["id"]),
    "service": lambda one: str(one["service"]),
    "model": lambda one: f"{one['model']}@{one['version']}",
    "status": lambda one: str(one["status"]),
    "answer": lambda one: _answer(one),
    "took": lambda one: _took(one),
    "age": lambda one: age_in_words(one["created_at"]),
}


def list_predictions(platform: Platform, filters: Mapping[str, str], limit: int, output: Output) -> None:
    """The newest predictions that match."""
    found = _all(platform, {**filters, "page_size": min(limit + 1, 500)})
    output.rows(output.newest(found, limit), COLUMNS, "No such predictions.")


def _all(platform: Platform, query: Mapping[str, str | int]) -> Iterator[Document]:
    """Every prediction, page by page; this list is as Replicate's: `results`, and the URL of the `next` page."""
    while True:
        page = platform.get(PREDICTIONS, **query)
        yield from page["results"]
        if not page["next"]:
            return
        query = dict(parse_qsl(urlsplit(page["next"]).query))


def show_prediction(platform: Platform, prediction_id: str, output: Output) -> None:
    """One prediction with its answer. Raises `CommandFailed`."""
    tell_prediction(platform.get(prediction_path(prediction_id)), output)


def tell_prediction(one: Document, output: Output) -> None:
    """How a prediction is; its answer as JSON."""
    facts = {
        "prediction": str(one["id"]),
        "status": str(one["status"]),
        "service": f"{one['service']}, {one['model']}@{one['version']}",
        "error": str(one["error"] or ""),
        "took": _took(one),
        "submitted": f"{age_in_words(one['created_at'])} ago",
        "output": "" if one["output"] is None else output.dump(one["output"]),
    }
    output.sheet(one, facts)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is submitted: the input, who is told of the end, which part is asked, and what a bad record spoils."""

    asked: Question | None
    webhook: str | None = None
    part: str | None = None
    on_error: str | None = None


def submit(platform: Platform, service: str, wish: Wish, output: Output, *, wait_s: float) -> None:
    """Submit the input, or the model's sample, and wait for the answer where `wait_s` is more than zero.

    Raises `CommandFailed` when the prediction fails, too.
    """
    question = wish.asked or Question.of_json(sample_body(platform, service, wish.part))
    question = question.with_fields(webhook=wish.webhook)
    query = {"part": wish.part, "on_error": wish.on_error}
    one = platform.send(
        "POST",
        f"/api/v1/services/{quote(service, safe='')}/predictions",
        question.content,
        query={name: value for name, value in query.items() if value is not None},
        headers={"content-type": question.media_type},
    ).document
    if not wait_s:
        if output.is_for_scripts:
            output.document(one)
        else:
            output.data(str(one["id"]))
        return
    output.say(f"Submitted {one['id']}")
    _tell_ended(_wait(platform, one, wait_s), output)


def await_prediction(platform: Platform, prediction_id: str, timeout_s: float, output: Output) -> None:
    """Wait for a prediction and show it. Raises `CommandFailed` as it ends."""
    _tell_ended(_wait(platform, platform.get(prediction_path(prediction_id)), timeout_s), output)


def cancel_prediction(platform: Platform, prediction_id: str, output: Output) -> None:
    """Stop a prediction; one that has ended stays as it is. Raises `CommandFailed`."""
    tell_prediction(platform.call("POST", f"{prediction_path(prediction_id)}/cancel").document, output)


def prediction_path(prediction_id: str) -> str:
    """A prediction's resource."""
    return f"{PREDICTIONS}/{quote(prediction_id, safe='')}"


def _wait(platform: Platform, one: Document, timeout_s: float) -> Document:
    deadline = time.monotonic() + timeout_s
    while one["status"] not in FINAL:
        left = deadline - time.monotonic()
        if left <= 0:
            raise CommandFailed(
                f"{one['id']} is not done after {timeout_s:g} s; it goes on.",
                details=[f"next: portside predictions wait {one['id']}"],
                exit_status=Exit.TIMEOUT,
            )
        one = platform.get(f"{prediction_path(one['id'])}:wait", timeout=f"{min(left, HOLD_S):.2f}")
    return one


def _tell_ended(one: Document, output: Output) -> None:
    """The prediction as data; one that did not succeed is the command's failure as well."""
    if one["status"] == "succeeded" or output.is_for_scripts:
        tell_prediction(one, output)
    if one["status"] == "canceled":
        raise CommandFailed(f"{one['id']} was canceled.", exit_status=Exit.CONFLICT)
    if one["status"] == "failed":
        problem = one["problem"] or {"detail": one["error"]}
        failed = refusal(int(problem.get("status", 500)), problem)
        details = [*failed.details, f"prediction: {one['id']}"]
        raise CommandFailed(failed.message, details=details, exit_status=failed.exit_status)


def _answer(one: Document) -> str:
    if one["status"] != "succeeded":
        return str(one["error"] or "")[:60]
    found = one["output"]
    if isinstance(found, dict) and "outputs" in found:
        found = found["outputs"]
    if isinstance(found, dict) and "data" in found and "columns" in found:
        found = found["data"]
    if isinstance(found, list):
        return f"{len(found)} records"
    return answer_in_words(found)


def _took(one: Document) -> str:
    total = one["metrics"].get("total_time")
    return "" if total is None else seconds_in_words(float(total))
