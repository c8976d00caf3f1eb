"""An outage is a line at its beginning, and one at its end."""

import logging
import re

import pytest

from core.outages import Outage

LOG = logging.getLogger("a.loop")


def test_what_fails_again_and_again_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(LOG, "the table stays as it is")
    outage.over()
    for _ in range(100):
        outage.met("the database did not answer")
    outage.over()
    outage.over()
    first, last = caplog.messages
    assert first == "the table stays as it is: the database did not answer"
    assert re.match(r"over after \d+\.\d", last)
    outage.met("again")
    assert caplog.messages[-1] == "the table stays as it is: again"
