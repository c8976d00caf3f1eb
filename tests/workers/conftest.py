"""The fixture that every test of the workers starts from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workers.platform import Platform, open_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """A real database without a worker."""
    async with open_platform(tmp_path) as opened:
        yield opened
