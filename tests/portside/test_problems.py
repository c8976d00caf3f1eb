"""A problem in words: each field that is wrong is told, and nothing twice."""

from portside.problems import facts_of


def test_what_is_wrong_with_several_fields_alike_is_told_of_each_and_one_hint_once() -> None:
    hint = "this model takes: a, b, c"
    errors = [{"pointer": f"/inputs/{name}", "detail": "is missing", "hint": hint} for name in "abc"]
    told = facts_of({"errors": errors}, "/inputs/a: is missing (and 2 more)")
    assert told == [f"hint: {hint}", "/inputs/b: is missing", "/inputs/c: is missing"]


def test_what_the_sentence_says_is_not_said_again() -> None:
    error = {"pointer": "/webhook", "detail": "10.0.0.1 is not a public address"}
    assert facts_of({"errors": [error]}, f"the webhook URL cannot be used: {error['detail']}") == []
