"""Plain words of the command line are read without Pydantic, and as typer reads them."""

import math
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from cli.commands.values import NotPlain, PlainValues, plain
from cli.main import build

WORDS = (
    "iris",
    "",
    " 7 ",
    "7",
    "007",
    "0",
    "-1",
    "70000",
    "1.5",
    ".5",
    "1e3",
    "1_0",
    "٣",
    "nan",
    "json",
    "JSON",
    "true",
)


def parameters(command: object, context: typer.Context) -> Iterator[TyperArgument | TyperOption]:
    """Every parameter of every verb."""
    assert isinstance(command, TyperGroup)
    for child in command.commands.values():
        yield from (each for each in child.params if isinstance(each, TyperArgument | TyperOption))
        if isinstance(child, TyperGroup):
            yield from parameters(child, context)


@pytest.fixture
def context() -> typer.Context:
    return typer.Context(get_command(build()))


def test_what_is_read_plainly_is_what_typer_reads(context: typer.Context) -> None:
    read = 0
    for param in parameters(context.command, context):
        wanted = param.type_descriptor
        is_many = param.multiple or param.nargs == -1
        for word in WORDS:
            given = [word, word] if is_many else word
            try:
                found = plain(given, wanted.annotation, wanted.parameter_info)
            except NotPlain:
                continue
            assert found == param.get_runtime_param().coerce(given, param=param, ctx=context), (param.name, word)
            read += 1
    assert read > 500


def test_every_default_is_plain(context: typer.Context) -> None:
    for param in parameters(context.command, context):
        wanted = param.type_descriptor
        if param.default is not None and param.name != "folder":  # of `reference`, which loads the servers anyhow
            assert plain(param.default, wanted.annotation, wanted.parameter_info) == param.default, param.name


def test_what_is_wrong_is_said_in_typers_words() -> None:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def scale(replicas: int) -> None:
        raise AssertionError(replicas)

    command = get_command(app)
    (param,) = (each for each in command.params if each.name == "replicas")
    assert isinstance(param, TyperArgument)
    with pytest.raises(typer.BadParameter, match="should be a valid integer"):
        PlainValues().coerce("x", param, typer.Context(command))


@pytest.mark.parametrize(("word", "least", "most"), [("0", 1, None), ("9", None, 8)])
def test_a_number_out_of_its_range_is_not_plain(word: str, least: int | None, most: int | None) -> None:
    info = typer.Option(min=least, max=most)
    with pytest.raises(NotPlain):
        plain(word, int, info)
    assert plain("5", int, info) == 5


def test_a_number_that_only_python_reads_is_not_plain() -> None:
    for word in ("nan", "1_000", "+1", " 1"):
        assert math.isnan(float(word)) or float(word)
        with pytest.raises(NotPlain):
            plain(word, float, typer.Option())
