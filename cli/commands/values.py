"""Words of the command line as values: plain ones are read here, all others by typer.

typer asks Pydantic for every value, even for one that is already what is wanted, and loading Pydantic takes longer than
most verbs take to answer. It has no public place to say otherwise, so this stands where typer keeps what it would build
at the first value; tests/cli/test_values.py holds the two against each other.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any, cast, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperOption
from typer.models import ParameterInfo

DIGITS = re.compile(r"[0-9]{1,15}")
DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class NotPlain(Exception):
    """The value needs a closer look: typer's, which also has the words for what is wrong."""


class PlainValues:
    """Reads the values of any parameter."""

    def coerce(self, value: object, param: TyperArgument | TyperOption, ctx: typer.Context) -> object:
        """The value as the parameter's type says. Raises typer's `BadParameter`."""
        wanted = param.type_descriptor
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        try:
            return plain(value, wanted.annotation, wanted.parameter_info)
        except NotPlain:
            private = cast(Any, param)
            private._runtime_param = None  # so that typer builds its own
            return private.get_runtime_param().coerce(value, param=param, ctx=ctx)


def read_plainly(params: Iterable[object]) -> None:
    """Let these parameters do without Pydantic until a value needs it."""
    for param in params:
        if isinstance(param, TyperArgument | TyperOption) and param._runtime_param is None:
            cast(Any, param)._runtime_param = PlainValues()


def plain(value: object, wanted: object, info: ParameterInfo) -> object:
    """The value as this type, where that is plain to see. Raises `NotPlain`."""
    if info.parser is None and isinstance(value, list | tuple) and get_origin(wanted) is list:
        return [plain(each, get_args(wanted)[0], info) for each in value]
    if info.parser is None and isinstance(wanted, type):
        if isinstance(value, wanted):
            return value
        if wanted is float and isinstance(value, int):
            return float(value)
        if isinstance(value, str):
            return _read(value, wanted, info)
    raise NotPlain


def _read(word: str, wanted: type, info: ParameterInfo) -> object:
    if issubclass(wanted, Enum):
        for member in wanted:
            if member.value == word:
                return member
    if (wanted is int and DIGITS.fullmatch(word)) or (wanted is float and DECIMAL.fullmatch(word)):
        number = wanted(word)
        if (info.min is None or number >= info.min) and (info.max is None or number <= info.max):
            return number
    raise NotPlain
