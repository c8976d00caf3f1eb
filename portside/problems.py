"""A problem document (RFC 9457) in words, for exceptions and for the command line alike."""

from collections.abc import Mapping

from portside.messages import Document


def sentence_of(http_status: int, problem: Document) -> str:
    """What went wrong in one sentence, whatever kind of body came with the status."""
    return str(
        problem.get("detail")
        or problem.get("error")
        or problem.get("title")
        or problem.get("status")
        or f"HTTP {http_status}"
    )


def facts_of(problem: Document, sentence: str) -> list[str]:
    """The lines that say more than the sentence: fields, hints, what is waited for, the end of a log."""
    lines: list[str] = []
    in_sentence = set[str]()
    for entry in problem.get("errors") or ():
        detail, hint = str(entry.get("detail", "")), f"hint: {entry.get('hint')}"
        if detail in sentence and detail not in in_sentence:  # of several alike (is missing) it says the first
            in_sentence.add(detail)
        else:
            lines.append(f"{entry.get('pointer', '')}: {detail}")
        if entry.get("hint") and str(entry["hint"]) not in sentence and hint not in lines:
            lines.append(hint)
    if isinstance(problem.get("waiting_for"), Mapping):
        lines += [f"{part}: {why}" for part, why in problem["waiting_for"].items()]
    if problem.get("last_lines") and str(problem["last_lines"]) not in sentence:
        lines += ["the last lines of its log:", *(f"  {line}" for line in str(problem["last_lines"]).splitlines())]
    return lines


def references_of(problem: Document, request_id: str | None) -> list[str]:
    """The lines that say where to look further: the operation that is meant, the request for whoever reads the log."""
    lines = []
    if isinstance(problem.get("operation"), Mapping):
        lines.append(f"operation: {problem['operation'].get('id')}")
    if named := problem.get("request_id") or request_id:
        lines.append(f"request: {named}")
    return lines
