"""The library for these tests: built by the machine's compiler, or by one from a wheel where it has none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.native.library import Library
from serving.native.way import QuickWay
from tests.serving.native.both_ways import BothWays, serve
from tests.serving.native.compilers import built_library

Serve = Callable[..., BothWays]


@pytest.fixture(scope="session")
def library() -> Library:
    """The library as it is now, whatever set-up has built."""
    return Library(built_library())


@pytest.fixture
def served(library: Library) -> Serve:
    """A function that serves a model file both ways, for a test that runs on a loop."""

    def serve_both(model: Path, token: str | None = None) -> BothWays:
        return serve(model, QuickWay(library, b"" if token is None else f"Bearer {token}".encode()), token)

    return serve_both
