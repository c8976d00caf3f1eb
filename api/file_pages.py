"""Pages of a dataset's files: a page begins after the last path seen, which its token carries."""

import base64
import binascii
import json

from core.errors import FieldProblem, InvalidField


def token_after(path: str, dataset_id: str, prefix: str) -> str:
    """The token of the page that begins after this path."""
    return base64.urlsafe_b64encode(json.dumps([path, dataset_id, prefix]).encode()).decode().rstrip("=")


def after_of(token: str, dataset_id: str, prefix: str) -> str:
    """The path after which the page begins. Raises `InvalidField` for a token of another list."""
    try:
        path, *rest = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if rest == [dataset_id, prefix] and isinstance(path, str):
            return path
    except (ValueError, TypeError, binascii.Error):
        pass
    detail, hint = "this page_token is none of this list with these filters", "begin again without it"
    raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/page_token", detail, hint)])
