"""The nearest known name, or the known ones, which a message must not drown in."""

from api.nearest import MOST_TOLD, hint


def test_a_near_name_is_told_alone_and_else_those_that_are_known() -> None:
    assert hint("irsi", ["iris", "wine"]) == "did you mean 'iris'?"
    assert hint("zzz", ["wine", "iris"]) == "known: iris, wine"
    assert hint("zzz", []) == ""


def test_of_very_many_names_only_some_are_told() -> None:
    told = hint("zzz", [f"column{number:03}" for number in range(300)])
    assert told.endswith("column049, …")
    assert told.count(",") == MOST_TOLD


def test_of_very_many_names_those_around_the_given_one_are_compared() -> None:
    assert hint("column12320s", [f"column{number:05}" for number in range(20_000)]) == "did you mean 'column12320'?"
