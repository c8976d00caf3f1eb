"""What cannot be asked is refused here, with what was given, and never reaches another resource."""

import math

import pytest

from portside import InvalidInput
from portside.requests import encoded
from tests.portside.documents import service
from tests.portside.scripted import Say, asking


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_a_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    with asking() as (server, platform), pytest.raises(InvalidInput, match="is no name"):
        platform.services.get(name)
    assert server.seen == []


@pytest.mark.parametrize(("name", "path"), [("a/b", "a%2Fb"), ("...", "..."), ("a?b", "a%3Fb"), ("@best", "@best")])
def test_any_other_name_is_one_step_of_the_path(name: str, path: str) -> None:
    with asking(Say(200, service())) as (server, platform):
        platform.services.get(name)
    assert server.seen[0].path == f"/api/v1/services/{path}"


def test_what_nests_too_deeply_is_told_so() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidInput, match="nested too deeply"):
        encoded(nested)


def test_who_gives_all_the_time_there_is_gets_an_answer() -> None:
    with asking(Say(200, service()), Say(200, {"outputs": [1]})) as (_, platform):
        assert platform.services.get("iris").predict([1], timeout_s=math.inf) == [1]
