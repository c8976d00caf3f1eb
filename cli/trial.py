"""Trying a version, or one of its parts, without a service."""

from urllib.parse import quote

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.operations import wait_for
from cli.output import Output
from cli.questions import Question
from cli.registry import Reference


def try_version(
    platform: Platform, text: str, part: str | None, asked: Question | None, output: Output, *, wait_s: float
) -> None:
    """Print what it answers to the question, or to its own sample: the outputs, what it printed, how long it took.

    Raises `CommandFailed`.
    """
    within = "" if part is None else f"/parts/{quote(part, safe='')}"
    path = f"{Reference.read(text).version_path}{within}"
    if asked is None:
        sample = platform.get(path).get("sample")
        if not sample:
            raise CommandFailed(f"{text} has no sample: give an input.", exit_status=Exit.USAGE)
        asked = Question.of_json({"inputs": sample})
    answer = platform.send(
        "POST", f"{path}:test", asked.content, headers={"content-type": asked.media_type}, timeout_s=wait_s
    )
    if answer.status != 202:
        output.data(output.dump(answer.document))
        return
    output.data(output.dump(wait_for(platform, answer.document, wait_s, output)["result"]))
