"""What a script may do with the token of its run: read, predict, add data and models, and report for itself.

Everything else belongs to people: a script that was taken over, or that is wrong, deletes nothing, deploys nothing and
begins no other run. What is not listed here is refused, also what a later release adds.
"""

from core.errors import Forbidden
from state.operations import Who

ADDED = (
    ("POST", "/datasets"),
    ("PUT", "/datasets/{dataset}/files/{path:path}"),
    ("POST", "/files"),
    ("POST", "/uploads"),
    ("PUT", "/uploads/{upload_id}/parts/{number}"),
    ("DELETE", "/uploads/{upload_id}"),
    ("POST", "/models"),
    ("POST", "/models/{model}/versions"),
)
ASKED = (  # a prediction that is waited for goes through the gateway, which admits every token
    ("POST", "/models/{model}/versions/{version}:test"),
    ("POST", "/models/{model}/versions/{version}/parts/{part}:test"),
    ("POST", "/models/{model}/versions/{version}:script"),
    ("POST", "/predictions"),
    ("POST", "/deployments/{owner}/{service}/predictions"),
    ("POST", "/services/{service}/predictions"),
    ("PUT", "/services/{service}/predictions/{prediction}"),
    ("POST", "/predictions/{prediction}/cancel"),
    ("POST", "/predictions/{prediction}:cancel"),
)
REPORTED = (("POST", "/jobs/{job}/runs/{run}/reports"),)  # of its own run: `NotYourRun` of others
MAY = frozenset((method, f"/api/v1{path}") for method, path in (*ADDED, *ASKED, *REPORTED))


class NotForScripts(Forbidden):
    """The token of a run reads, predicts, adds data and models and reports; it changes nothing else."""

    code, title = "not_for_scripts", "A script may not do this"


def refuse_to_replace(who: Who, path: str, former: str, given: str) -> None:
    """Raises `NotForScripts` where a script puts other bytes (their digests) in the place of a dataset's file."""
    if who.run_id is not None and former != given:
        raise NotForScripts(
            f"the token of a run replaces nothing, and the dataset has another file at '{path[:200]}'; put it under a "
            "path of its own, with the run's number for example, or give the script a token of a user"
        )


def refuse_beyond_its_run(who: Who, method: str, path: str) -> None:
    """Raises `NotForScripts` where a script asks for a change by a route (its path as declared) that is not its own."""
    if who.run_id is not None and (method, path) not in MAY:
        raise NotForScripts(
            "the token of a run reads, predicts, adds datasets, files, models and versions, and reports for its run; "
            "for anything else give the script a token of a user, as a variable of its environment"
        )
