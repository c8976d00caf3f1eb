"""What an operator types."""

import pytest

from cli.failure import CommandFailed, Exit
from cli.operating import seconds
from tests.cli.test_main import portside


@pytest.mark.parametrize(("given", "expected"), [("90s", 90), ("30m", 1800), ("2h", 7200), (" 1d ", 86_400)])
def test_a_duration_is_a_number_with_a_unit(given: str, expected: int) -> None:
    assert seconds(given) == expected


@pytest.mark.parametrize("given", ["", "1", "1.5h", "-1h", "1 h", "1w", "h"])
def test_any_other_duration_is_a_usage_error_that_shows_one(given: str) -> None:
    with pytest.raises(CommandFailed, match="30m") as refused:
        seconds(given)
    assert refused.value.exit_status is Exit.USAGE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("off",), "which one?"), (("off", "webhooks"), "say why"), (("down", "webhooks"), "'off', 'on'")],
)
def test_half_a_wish_is_a_usage_error(arguments: tuple[str, ...], said: str) -> None:
    done = portside("switch", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
