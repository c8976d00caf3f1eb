"""Code that asks a service with its own sample: to be pasted, and run as it is. A token is named, never shown."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import Json

TOKEN = "PORTSIDE_TOKEN"  # noqa: S105  (the variable that the command line reads as well)

PYTHON = """\
import json
{imports}from urllib.request import Request, urlopen

body = {body}
headers = {{"Content-Type": "application/json"{bearer}}}
request = Request({url}, json.dumps(body).encode(), headers)
with urlopen(request) as response:
    print(response.read().decode())
"""
JAVASCRIPT = """\
const body = {body};

fetch({url}, {{
  method: "POST",
  headers: {{"Content-Type": "application/json"{bearer}}},
  body: JSON.stringify(body),
}})
  .then((response) => response.text())
  .then((text) => console.log(text));
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What a snippet sends: the service's absolute URL, a prediction's body, and whether a token is needed."""

    url: str
    body: Mapping[str, Json]
    needs_token: bool


def curl(question: Question) -> str:
    """A command for a POSIX shell."""
    bearer = f'  -H "Authorization: Bearer ${TOKEN}" \\\n' if question.needs_token else ""
    head = f"curl -sS {shlex.quote(question.url)} \\\n  -H 'Content-Type: application/json' \\\n"
    return f"{head}{bearer}  -d {shlex.quote(json.dumps(question.body))}\n"


def python(question: Question) -> str:
    """A script that needs the standard library only."""
    return PYTHON.format(
        imports="import os\n" if question.needs_token else "",
        body=repr(question.body),
        url=json.dumps(question.url),
        bearer=f', "Authorization": f"Bearer {{os.environ[{TOKEN!r}]}}"' if question.needs_token else "",
    )


def javascript(question: Question) -> str:
    """A script for Node 18 and later; without a token for a browser's console as well."""
    return JAVASCRIPT.format(
        body=json.dumps(question.body),
        url=json.dumps(question.url),
        bearer=f", Authorization: `Bearer ${{process.env.{TOKEN}}}`" if question.needs_token else "",
    )
