"""Bad requests that no schema tells: what contradicts itself, what is not there, what another has or forbids."""

from collections.abc import Mapping, Sequence

V1 = "/api/v1"
# Method, path, JSON body, status and the field that the answer names.
Contradiction = tuple[str, str, object, int, str | None]


def contradictions(world: Mapping[str, str]) -> Mapping[str, Sequence[Contradiction]]:
    """By resource, in a world as `tests.api.world` makes it."""
    return {
        "models": _models(),
        "versions": _versions(),
        "aliases": _aliases(),
        "services": _services(),
        "replicas": _replicas(world),
        "predictions": _predictions(world),
        "operations": _operations(world),
        "batches": _batches(),
        "webhooks": _webhooks(world),
        "deliveries": _deliveries(world),
        "tokens": _tokens(),
        "switches": _switches(),
        "files": _files(),
        "jobs": _jobs(),
        "runs": _runs(),
    }


def _jobs() -> Sequence[Contradiction]:
    jobs, new = f"{V1}/jobs", {"name": "fresh", "model": "iris", "version": "1", "input": {"dataset": "flowers"}}
    fits = {**new, "pass_through": ["id"]}
    return [
        ("POST", jobs, {**fits, "name": "flowers"}, 409, "/name"),
        ("POST", jobs, {**fits, "model": "nobody"}, 404, "/model"),
        ("POST", jobs, {**fits, "version": "@nobody"}, 404, "/version"),
        ("POST", jobs, {**fits, "input": {"dataset": "nothing"}}, 404, "/input/dataset"),
        ("POST", jobs, {**fits, "input": {"uri": "https://user:secret@example.com/a"}}, 422, "/input/uri"),
        ("POST", jobs, {**fits, "input": {}}, 422, "/input"),
        ("POST", jobs, {**fits, "after": "nothing"}, 404, "/after"),
        ("POST", jobs, {**fits, "part": "de"}, 422, "/part"),
        ("POST", jobs, {**fits, "on_error": "limit"}, 422, "/on_error/limit"),
        ("POST", jobs, {**fits, "output": {"name": "{month}"}}, 422, "/output/name"),
        ("POST", jobs, {**fits, "mapping": {"y": "a"}}, 422, "/mapping/y"),
        ("POST", jobs, new, 422, "/mapping"),
        ("PATCH", f"{jobs}/flowers", {"after": "flowers"}, 422, "/after"),
        ("PATCH", f"{jobs}/flowers", {"kind": "batch"}, 422, "/kind"),
        ("DELETE", f"{jobs}/flowers", None, 409, None),
    ]


def _runs() -> Sequence[Contradiction]:
    runs = f"{V1}/jobs/flowers/runs"
    return [
        ("POST", runs, {"version": "99"}, 404, "/version"),
        ("POST", runs, {"env": {"PATH": "x"}}, 422, "/env/PATH"),
        ("POST", runs, {"input": {"dataset": "nothing"}}, 404, "/input/dataset"),
        ("POST", runs, {"run_name": "x"}, 422, "/run_name"),
        ("POST", f"{runs}/1:resume", None, 409, None),
        ("POST", f"{runs}/3:stop", None, 409, None),
        ("POST", f"{runs}/99:stop", None, 404, None),
        ("DELETE", f"{runs}/1", None, 409, None),
        ("GET", f"{runs}/@best", None, 404, None),
        ("GET", f"{runs}/run_nothing", None, 404, None),
        ("GET", f"{runs}/1/result", None, 409, None),
        ("GET", f"{runs}/1:wait?timeout=99", None, 422, "/timeout"),
    ]


def _models() -> Sequence[Contradiction]:
    models = f"{V1}/models"
    return [
        ("POST", models, {"name": "iris"}, 409, "/name"),
        ("POST", models, {"name": "iris-"}, 422, "/name"),
        ("POST", models, {"name": "fresh", "tags": ["a"] * 51}, 422, "/tags"),
        ("POST", models, {"name": "fresh", "tags": ["x" * 81]}, 422, "/tags"),
        ("POST", models, {"name": "fresh", "source_uri": "ftp://example.com/a.onnx"}, 422, "/source_uri"),
        ("POST", models, {"name": "fresh", "source_uri": "not a url"}, 422, "/source_uri"),
        ("POST", models, {"name": "fresh", "file": "model.onnx"}, 422, "/file"),
        ("PATCH", f"{models}/iris", {"name": "other"}, 422, "/name"),
        ("PATCH", f"{models}/iris", {"etag": "1"}, 422, "/etag"),
        ("DELETE", f"{models}/iris", None, 409, None),
    ]


def _versions() -> Sequence[Contradiction]:
    versions = f"{V1}/models/iris/versions"
    return [
        ("POST", versions, {"source_uri": "http://169.254.169.254/latest"}, 422, "/source_uri"),
        ("POST", versions, {"source_uri": "https://user:secret@example.com/a"}, 422, "/source_uri"),
        ("POST", versions, {"source_uri": "https://"}, 422, "/source_uri"),
        ("POST", versions, {}, 422, "/source_uri"),
        ("POST", versions, {"source_uri": "https://example.com/a", "name": "other"}, 422, "/name"),
        ("PATCH", f"{versions}/1", {"features": {"nobody": ["a"]}}, 422, "/features/nobody"),
        ("PATCH", f"{versions}/1", {"features": {"x": ["a"]}}, 422, "/features/x"),
        ("PATCH", f"{versions}/1", {"features": {"x": ["a", "a", "b", "c"]}}, 422, "/features"),
        ("PATCH", f"{versions}/1", {"digest": "sha256:0"}, 422, "/digest"),
        ("DELETE", f"{versions}/2", None, 409, None),
        ("POST", f"{versions}/1:test", {}, 422, "/inputs"),
        ("POST", f"{versions}/1:test", {"inputs": {}, "tensors": {}}, 422, "/tensors"),
        ("POST", f"{versions}/2/parts/es:test", {"inputs": {}}, 404, None),
        ("POST", f"{versions}/2/parts/de:test", {"inputs": {}, "part": "fr"}, 422, "/part"),
        ("GET", f"{versions}/2/parts/es", None, 404, None),
        ("GET", f"{versions}/2/parts/es/artifact", None, 404, None),
        ("GET", f"{versions}/1/parts/de", None, 404, None),
        ("GET", f"{versions}/99", None, 404, None),
        ("GET", f"{versions}/@nobody", None, 404, None),
        ("GET", f"{versions}/sha256:{'f' * 64}", None, 404, None),
    ]


def _aliases() -> Sequence[Contradiction]:
    aliases = f"{V1}/models/iris/aliases"
    return [
        ("PUT", f"{aliases}/latest", {"version": "99"}, 404, "/version"),
        ("PUT", f"{aliases}/best", {"version": "@nobody"}, 404, "/version"),
        ("PUT", f"{aliases}/best", {"version": ""}, 422, "/version"),
        ("PUT", f"{aliases}/Best", {"version": "1"}, 422, "/alias"),
        ("PUT", f"{aliases}/{'b' * 49}", {"version": "1"}, 422, "/alias"),
        ("DELETE", f"{aliases}/worst", None, 404, None),
    ]


def _services() -> Sequence[Contradiction]:
    services = f"{V1}/services"
    new = {"name": "other", "model": "iris"}
    return [
        ("POST", services, {"name": "iris", "model": "iris"}, 409, "/name"),
        ("POST", services, {"name": "other", "model": "nobody"}, 404, "/model"),
        ("POST", services, {**new, "version": "99"}, 404, "/version"),
        ("POST", services, {**new, "version": "@nobody"}, 404, "/version"),
        ("POST", services, {**new, "replicas": 0}, 422, "/replicas"),
        ("POST", services, {**new, "replicas": 65}, 422, "/replicas"),
        ("POST", services, {**new, "resources": {"cpu": "many"}}, 422, "/resources/cpu"),
        ("POST", services, {**new, "resources": {"cpu": 0}}, 422, "/resources/cpu"),
        ("POST", services, {**new, "resources": {"memory": "1 pound"}}, 422, "/resources/memory"),
        ("POST", services, {**new, "resources": {"memory": "1Mi"}}, 422, "/resources/memory"),
        ("POST", services, {**new, "resources": {"gpu": 17}}, 422, "/resources/gpu"),
        ("POST", services, {**new, "env": {"A=B": "x"}}, 422, "/env"),
        ("POST", services, {**new, "env": {"": "x"}}, 422, "/env"),
        ("POST", services, {**new, "env": {"A": 1}}, 422, "/env/A"),
        ("POST", services, {**new, "env": {"PATH": "/tmp"}}, 422, "/env"),
        ("POST", services, {**new, "expires_after": "soon"}, 422, "/expires_after"),
        ("POST", services, {**new, "expires_after": "0s"}, 422, "/expires_after"),
        ("POST", services, {**new, "port": "any"}, 422, "/port"),
        ("POST", services, {**new, "port": 80}, 422, "/port"),
        ("PATCH", f"{services}/iris", {"port": 10**30}, 422, "/port"),
        ("PATCH", f"{services}/iris", {"port": 31000.0}, 422, "/port"),
        ("PUT", f"{services}/iris", {"name": "other", "model": "iris"}, 422, "/name"),
        ("PATCH", f"{services}/iris", {"status": "paused"}, 422, "/status"),
        ("PATCH", f"{services}/iris", {"model": None}, 422, "/model"),
        ("PATCH", f"{services}/iris", {"replicas": "2"}, 422, "/replicas"),
        ("POST", f"{services}/iris:resume", None, 409, None),
        ("POST", f"{services}/asleep:pause", None, 409, None),
        ("POST", f"{services}/asleep:restart", None, 409, None),
        ("POST", f"{services}/iris:rollback", {"revision": 99}, 404, "/revision"),
        ("POST", f"{services}/iris:rollback", {"revision": 2}, 409, "/revision"),
        ("POST", f"{services}/iris:explode", None, 404, None),
    ]


def _replicas(world: Mapping[str, str]) -> Sequence[Contradiction]:
    replicas = f"{V1}/services/asleep/replicas"
    return [
        ("GET", f"{replicas}/{world['replica']}/logs", None, 404, None),
        ("POST", f"{replicas}/{world['replica']}:restart", None, 404, None),
    ]


def _predictions(world: Mapping[str, str]) -> Sequence[Contradiction]:
    iris, inputs = f"{V1}/services/iris/predictions", {"inputs": {"x": [1, 2, 3, 4]}}
    return [
        ("POST", iris, {}, 422, "/inputs"),
        ("POST", iris, {"inputs": None}, 422, "/inputs"),
        ("POST", iris, {**inputs, "tensors": {}}, 422, "/tensors"),
        ("POST", iris, {**inputs, "input": {}}, 422, "/input"),
        ("POST", iris, {"columns": ["x"]}, 422, "/data"),
        ("POST", iris, {"data": [[1]]}, 422, "/columns"),
        ("POST", iris, {**inputs, "webhook": "ftp://example.com"}, 422, "/webhook"),
        ("POST", iris, {**inputs, "webhook": "http://10.1.2.3:1/"}, 422, "/webhook"),
        ("POST", iris, {**inputs, "webhook_events_filter": ["end"]}, 422, "/webhook_events_filter/0"),
        ("POST", iris, {**inputs, "webhook": "https://a.example", "webhook_completed": "https://b.example"}, 422,
         "/webhook_completed"),
        ("POST", iris, {"inputs": {"x": {"$file": "file_nobody"}}}, 422, "/inputs/x"),
        ("POST", f"{V1}/services/asleep/predictions", inputs, 409, None),
        ("POST", f"{V1}/services/nobody/predictions", inputs, 404, None),
        ("POST", f"{V1}/predictions", {"version": "nobody", **inputs}, 404, "/version"),
        ("POST", f"{V1}/predictions", inputs, 422, "/version"),
        ("PUT", f"{iris}/no%20id", inputs, 422, "/prediction"),
    ]  # fmt: skip


def _operations(world: Mapping[str, str]) -> Sequence[Contradiction]:
    operations = f"{V1}/operations"
    return [
        ("POST", f"{operations}/{world['queued']}:retry", None, 409, None),
        ("POST", f"{operations}/{world['failed']}:explode", None, 404, None),
        ("GET", f"{operations}/{world['webhook_id']}", None, 404, None),
    ]


def _batches() -> Sequence[Contradiction]:
    many = f"{V1}/operations:cancel"
    return [
        ("POST", many, {}, 422, ""),
        ("POST", many, {"ids": ["a"], "filter": {"status": "queued"}}, 422, ""),
        ("POST", many, {"ids": []}, 422, "/ids"),
        ("POST", many, {"ids": ["a"] * 2_000}, 422, "/ids"),
        ("POST", many, {"ids": ["x" * 61]}, 422, "/ids/0"),
        ("POST", many, {"filter": {}}, 422, "/filter"),
        ("POST", many, {"filter": {"nobody": "x"}}, 422, "/filter/nobody"),
        ("POST", many, {"filter": {"status.like": "x"}}, 422, "/filter/status.like"),
        ("POST", many, {"filter": {"created_at.gt": "yesterday"}}, 422, "/filter/created_at.gt"),
        ("POST", many, {"filter": {"status": ["a", "b"]}}, 422, "/filter/status"),
        ("POST", f"{V1}/services:pause", {"filter": {"replicas": 2}}, 422, "/filter/replicas"),
    ]


def _webhooks(world: Mapping[str, str]) -> Sequence[Contradiction]:
    webhooks = f"{V1}/webhooks"
    one, url = f"{webhooks}/{world['webhook_id']}", {"url": "https://example.com/"}
    urls = ("ftp://example.com/", "example.com", "https://", "http://10.0.0.1/", "http://[fe80::1]/", "https://a b/",
            "https://u:p@example.com/", "javascript:alert(1)", "https://example.com:99999/", "")  # fmt: skip
    return [
        *(("POST", webhooks, {"url": wrong}, 422, "/url") for wrong in urls),
        ("POST", webhooks, {**url, "events": ["service.explode"]}, 422, "/events"),
        ("POST", webhooks, {**url, "events": []}, 422, "/events"),
        ("PATCH", one, {"url": None}, 422, "/url"),
        ("PATCH", one, {"url": "http://192.168.0.1/"}, 422, "/url"),
        ("PATCH", one, {"secret": "whsec_x"}, 422, "/secret"),
    ]


def _deliveries(world: Mapping[str, str]) -> Sequence[Contradiction]:
    again = f"{V1}/webhooks/{world['webhook_id']}:redeliver"
    since = {"since": "2020-01-01T00:00:00Z"}
    return [
        ("POST", again, {}, 422, "/since"),
        ("POST", again, {"since": "yesterday"}, 422, "/since"),
        ("POST", again, {**since, "until": "2019-01-01T00:00:00Z"}, 422, "/until"),
        ("POST", again, {**since, "status": "pending"}, 422, "/status"),
    ]


def _tokens() -> Sequence[Contradiction]:
    tokens = f"{V1}/tokens"
    return [
        ("POST", tokens, {"name": "a", "expires_at": "tomorrow"}, 422, "/expires_at"),
        ("POST", tokens, {"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, 422, "/expires_at"),
        ("POST", tokens, {"name": "a", "token": "pst_mine"}, 422, "/token"),
    ]


def _switches() -> Sequence[Contradiction]:
    one = f"{V1}/system/switches"
    return [
        ("PUT", f"{one}/gravity", {"reason": "a test"}, 404, None),
        ("PUT", f"{one}/schedules", {"reason": ""}, 422, "/reason"),
        ("PUT", f"{one}/schedules", {"reason": "a test", "expires_in_s": 0}, 422, "/expires_in_s"),
        ("PUT", f"{one}/schedules", {"reason": "a test", "expires_in_s": 10**12}, 422, "/expires_in_s"),
        ("DELETE", f"{one}/gravity", None, 404, None),
    ]


def _files() -> Sequence[Contradiction]:
    return [("POST", f"{V1}/files", {"content": "a.txt"}, 415, None)]
