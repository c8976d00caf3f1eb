"""The parameters of a header's value, like a content type's boundary: the one door to the library that reads them."""

from collections.abc import Mapping
from email.message import Message
from typing import Final

MOST_PARAMETERS: Final = 100  # the parser's time grows with their square

# What escapes the standard library's parser for a value that somebody made by hand.
MALFORMED = (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def parameters(value: str) -> Mapping[str, object]:
    """The parameters of `form-data; name="age"` by their names in lower case (RFC 2045, 5.1).

    What is encoded as RFC 2231 has it (`name*=`) is no text here. Raises `ValueError`.
    """
    if value.count(";") > MOST_PARAMETERS:
        raise ValueError(f"it has more than {MOST_PARAMETERS} parameters")
    message = Message()
    message["content-type"] = value.replace("\r", "").replace("\n", "")
    try:
        found = message.get_params(failobj=[])[1:]
    except MALFORMED as error:
        raise ValueError("it has malformed parameters") from error
    return {name.lower(): given for name, given in found}
