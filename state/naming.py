"""What a run and its output are called: templates in which the job, the run's number and its day have values. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

from core.clock import Micros

WORDS: Final = ("job", "run", "date")
LONGEST_NAME, LONGEST_RUN_NAME = 48, 120  # of a resource, of a run
RESOURCE_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")
BRACED: Final = re.compile(r"\{([^{}]*)\}")
DEFAULT: Final = "{job}-{run}"


def filled(template: str, job: str, number: int, at: Micros) -> str:
    """The template with its values; `date` is the day in UTC of that instant, which is that of `Run.is_for`."""
    day = datetime.fromtimestamp(at / 1_000_000, UTC).date().isoformat()
    values = {"job": job, "run": str(number), "date": day}
    return BRACED.sub(lambda found: values.get(found[1], found[0]), template)


def run_name(template: str | None, job: str, number: int, at: Micros) -> str:
    """What a run is called; cut to its length."""
    return filled(template or DEFAULT, job, number, at)[:LONGEST_RUN_NAME]


def output_name(template: str, job: str, number: int, at: Micros) -> str:
    """What its output is called: a resource's name. Of a job whose name is too long for that, the beginning."""
    name = filled(template, job, number, at)
    excess = len(name) - LONGEST_NAME
    if excess > 0 and "{job}" in template:
        shorter = job[: max(1, len(job) - -(-excess // template.count("{job}")))].rstrip("-")
        name = filled(template, shorter, number, at)
    return name[:LONGEST_NAME].rstrip("-")


def output_fault(template: str) -> str | None:
    """Why no dataset can be called so, if that is so."""
    unknown = next((word for word in BRACED.findall(template) if word not in WORDS), None)
    if unknown is not None:
        return f"'{{{unknown[:40]}}}' has no value; {', '.join(f'{{{word}}}' for word in WORDS)} have one"
    if RESOURCE_NAME.fullmatch(filled(template, "j", 1, 0)) is None:
        return (
            "a dataset's name is 1 to 48 characters: lower-case letters, digits and '-', a letter first and no '-' at "
            "the end"
        )
    return None
