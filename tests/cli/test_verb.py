"""What verbs have in common is declared once, and reaches each of them."""

import inspect
from typing import Annotated

import pytest
import typer

from cli.commands.target import PlatformAddress
from cli.commands.verb import Call, client_verb
from cli.failure import CommandFailed, Exit
from cli.format import Format
from cli.main import build
from tests.cli.test_main import verbs

COMMON = {"context", "output", "as_json", "quiet", "wait", "timeout", "many_where", "many_all", "many_dry_run"}


def called(verb: typer.Typer, *words: str) -> None:
    verb(words, standalone_mode=False, obj=PlatformAddress("http://127.0.0.1:9", "pst_mine"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("iris",), ("iris", 1, Format.TABLE, False, 7)),
        (("iris", "--no-wait", "-q", "--count", "2"), ("iris", 2, Format.TABLE, True, 0)),
        (("iris", "--timeout", "3", "-o", "yaml"), ("iris", 1, Format.YAML, False, 3)),
        (("iris", "--json", "--wait"), ("iris", 1, Format.JSON, False, 7)),
    ],
)
def test_a_verb_is_given_its_own_words_and_a_call_made_ready_of_the_common_ones(
    words: tuple[str, ...], expected: tuple[object, ...]
) -> None:
    seen: list[tuple[object, ...]] = []
    app = typer.Typer()

    @app.command()
    @client_verb(waits_s=7)
    def show(call: Call, name: str, count: int = 1) -> None:
        seen.append((name, count, call.output.format, call.output.quiet, call.wait_s))
        assert (call.platform.url, call.platform.token) == ("http://127.0.0.1:9", "pst_mine")

    called(app, *words)
    assert seen == [expected]


def test_a_verb_that_only_waits_takes_a_time_and_no_choice() -> None:
    seen: list[float] = []
    app = typer.Typer()

    @app.command()
    @client_verb(waits_s=7, always_waits=True)
    def wait(call: Call) -> None:
        seen.append(call.timeout_s)

    called(app, "--timeout", "0.5")
    assert seen == [0.5]
    with pytest.raises(SystemExit) as refused:
        app(["--no-wait"])
    assert refused.value.code == 2


def test_a_verb_for_many_takes_one_or_a_choice_and_an_empty_name_is_no_choice() -> None:
    seen: list[str] = []
    app = typer.Typer()

    @app.command()
    @client_verb(for_many="services:pause")
    def pause(call: Call, name: Annotated[str, typer.Argument()]) -> None:
        seen.append(name)

    called(app, "iris")
    called(app, "")
    assert seen == ["iris", ""]
    for words in ((), ("iris", "--all"), ("--all", "--where", "a=b"), ("iris", "--dry-run"), ("--where", "a")):
        with pytest.raises(CommandFailed) as refused:
            called(app, *words)
        assert refused.value.exit_status is Exit.USAGE


def test_no_verb_declares_for_itself_what_is_common() -> None:
    bodies = [(name, inspect.unwrap(verb)) for name, verb in verbs(build())]
    takers = [(name, body) for name, body in bodies if "call" in inspect.signature(body).parameters]
    assert len(takers) > 30
    for name, body in takers:
        assert not COMMON & set(inspect.signature(body).parameters), name
