"""Documents as the API shows them, with what a test wants to say of them."""

from typing import Any

AT = "2026-01-31T12:00:00.000001Z"


def operation(status: str = "queued", **said: Any) -> dict[str, Any]:
    done = status in ("succeeded", "failed", "canceled")
    return {
        "id": "op_1",
        "kind": "service.deploy",
        "status": status,
        "done": done,
        "target": {"type": "service", "id": "svc_1", "name": "iris", "url": None, "generation": 1},
        "attempt": 0,
        "progress": {"percent": 0, "stage": status, "detail": None},
        "created_at": AT,
        "started_at": None,
        "completed_at": AT if done else None,
        "superseded_by": None,
        "error": None,
        "result": {} if status == "succeeded" else None,
        **said,
    }


def service(**said: Any) -> dict[str, Any]:
    return {
        "id": "svc_1",
        "name": "iris",
        "tags": ["a"],
        "status": "running",
        "since": AT,
        "model": "iris",
        "version": "1",
        "revision": 1,
        "replicas": 1,
        "ready_replicas": 1,
        "created_at": AT,
        "updated_at": AT,
        "expires_at": None,
        "url": "http://localhost/api/v1/services/iris/predict",
        "operation": None,
        **said,
    }


def prediction(status: str = "starting", **said: Any) -> dict[str, Any]:
    return {
        "id": "prd_1",
        "status": status,
        "service": "iris",
        "model": "iris",
        "version": "1",
        "input": {"x": 1},
        "output": None,
        "error": None,
        "problem": None,
        "metrics": {},
        "created_at": AT,
        "started_at": None,
        "completed_at": None,
        **said,
    }


def job(**said: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "name": "score",
        "kind": "batch",
        "tags": [],
        "status": "active",
        "model": "iris",
        "version": "latest",
        "input": {"dataset": "flowers"},
        "output": {"name": "{job}-{run}", "format": None, "compression": None, "replace": False},
        "live_runs": 0,
        "created_at": AT,
        "updated_at": AT,
        "url": "http://localhost/api/v1/jobs/score",
        **said,
    }


def run(status: str = "queued", **said: Any) -> dict[str, Any]:
    return {
        "id": "run_1",
        "job": "score",
        "number": 7,
        "name": "score-7",
        "kind": "batch",
        "status": status,
        "since": AT,
        "trigger": "manual",
        "progress": {"rows": 10, "rows_total": 100, "rows_per_s": 5.0, "eta_s": 18.0, "percent": 10.0, "detail": None},
        "rows_in": 10,
        "rows_out": 9,
        "bad": 1,
        "retries": 0,
        "duration_s": 2.0,
        "created_at": AT,
        "error": None,
        **said,
    }


def problem(status: int, **said: Any) -> dict[str, Any]:
    return {"title": "t", "status": status, "detail": f"it is {status}", "code": "some_code", **said}
