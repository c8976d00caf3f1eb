"""Errors reach other processes whole."""

import pickle

import pytest

from portside import (
    AnswerTimeout,
    InvalidAddress,
    OperationFailed,
    PortsideError,
    PredictionFailed,
    Rejected,
    WaitTimeout,
)
from tests.portside.documents import operation, prediction, problem

FIELDS = [{"pointer": "/inputs/age", "detail": "is missing", "hint": "a number"}]
RAISED = [
    AnswerTimeout("late", was_sent=True),
    InvalidAddress("is no URL", "x"),
    OperationFailed(operation("failed", error=problem(422))),
    PredictionFailed(prediction("failed", problem=problem(422))),
    Rejected(422, problem(422, errors=FIELDS), "req_1", 3.0),
    WaitTimeout("not yet"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_a_pickle(error: PortsideError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_a_prediction_that_failed_without_a_problem_says_its_sentence() -> None:
    assert str(PredictionFailed(prediction("failed", error="it was too much"))) == "prd_1 failed: it was too much"
