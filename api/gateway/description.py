"""The gateway's own paths in the API's description, where FastAPI cannot see it: it stands in front of the routes.

The Open Inference Protocol is left out: its authors describe it.
"""

from typing import Any, Final

PREDICT_PATH: Final = "/api/v1/services/{service}/predict"
PREDICT_PART_PATH: Final = "/api/v1/services/{service}/parts/{part}/predict"


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "title": name.title()}}


PREDICT: Final[dict[str, Any]] = {
    "tags": ["predictions"],
    "operationId": "predict",
    "summary": "Predict",
    "description": "Answer at once, with the service's model server: no database and no queue on the way.\n\n"
    "`outputs` has the form of the input: one answer for one record, a list for a list, a table for a table. The body "
    "may also be CSV (`text/csv`), lines of JSON (`application/x-ndjson`) or an Arrow stream "
    "(`application/vnd.apache.arrow.stream`), each answered in its own kind unless `Accept` says otherwise, or a form "
    "(one record). "
    "While the service is being deployed this is 503 with `Retry-After`, while it is paused 409.",
    "parameters": [
        _in_path("service"),
        {
            "name": "on_error",
            "in": "query",
            "required": False,
            "description": "`record` answers the other records where some are bad, which `errors` tells.",
            "schema": {"type": "string", "enum": ["fail", "record"]},
        },
        {
            "name": "Portside-Timeout",
            "in": "header",
            "required": False,
            "description": "How long the answer may take: `30s`, `500ms`, `2m`; 504 after it. Without it a minute.",
            "schema": {"type": "string"},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ImmediateInput"}}},
    },
    "responses": {
        "200": {
            "description": "What the model answers.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictionAnswer"}}},
        },
        "503": {
            "description": "No replica is ready yet: the service is being deployed, updated or resumed.",
            "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        },
    },
}
PREDICT_PART: Final[dict[str, Any]] = {
    **PREDICT,
    "operationId": "predict_part",
    "summary": "Predict with a part",
    "description": "The same, answered by one part of a version that has several models; 404 names the parts there "
    "are. Without a part the default one answers.\n\n"
    "In the Open Inference Protocol a part is a version of the model: `/v2/models/{service}/versions/{part}/infer`.",
    "parameters": [_in_path("service"), _in_path("part"), *PREDICT["parameters"][1:]],
}
GATEWAY_PATHS: Final = {PREDICT_PATH: PREDICT, PREDICT_PART_PATH: PREDICT_PART}
