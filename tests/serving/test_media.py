"""In which kind a client is answered, by what it sent and what it accepts."""

import pytest

from serving.media import ARROW, Kind, kind_of, preferred


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [(b"", "json"), (b"application/json", "json"), (b"Text/CSV; header=absent", "csv"), (b"application/jsonl", "lines"),
     (b"text/tab-separated-values", "csv"), (ARROW.encode() + b" ; a=b", "arrow"), (b"multipart/form-data", "json")],
)  # fmt: skip
def test_what_is_sent_says_in_which_kind_one_asks(content_type: bytes, kind: Kind) -> None:
    assert kind_of(content_type) == kind


@pytest.mark.parametrize(
    ("accept", "asked_in", "told_in"),
    [
        ("", "arrow", "arrow"),
        ("*/*", "csv", "csv"),
        ("application/json", "arrow", "json"),
        (ARROW, "json", "arrow"),
        (f"{ARROW};q=0.5, application/json;q=0.9", "arrow", "json"),
        (f"{ARROW}, application/json", "arrow", "arrow"),
        (f"{ARROW}, application/json", "csv", "json"),
        (f"{ARROW}, text/csv", "lines", "arrow"),
        ("text/html, */*;q=0.8", "json", "json"),
        ("text/*", "json", "csv"),
        ("application/*", "arrow", "arrow"),
        ("application/*, text/csv;q=0.9", "csv", "json"),
        ("*/*, application/json;q=0", "json", "csv"),
        ("text/html", "lines", "lines"),
        ("application/json; charset=utf-8; q=0.1, text/csv; q=0.2", "json", "csv"),
        ("text/csv;q=nan, application/json;q=2", "json", "json"),
        ("text/csv;q=x", "json", "csv"),
        (",;;,=", "csv", "csv"),
    ],
)
def test_the_kind_that_is_liked_best_is_told(accept: str, asked_in: Kind, told_in: Kind) -> None:
    assert preferred(accept.encode(), asked_in) == told_in
