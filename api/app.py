"""The FastAPI app: routers, error documents, the edge. Built by `cli`, which gives it its `Context`."""

from collections.abc import Mapping

from fastapi import FastAPI, Request, Response

from api.dependencies import Context
from api.edge import Edge
from api.errors import METHODS, install, no_route
from api.openapi import PlatformApp
from api.routes import (
    batches,
    dataset_files,
    datasets,
    deliveries,
    events,
    files,
    health,
    histories,
    jobs,
    me,
    models,
    operations,
    parts,
    predictions,
    replicas,
    run_reports,
    runs,
    runtimes,
    schedules,
    scripts,
    service_metrics,
    services,
    snippets,
    switches,
    system,
    tokens,
    trials,
    uploads,
    versions,
    webhooks,
)

API_VERSION = "1.0.0"
OPENAPI = "/api/v1/openapi.json"


def build_app(context: Context) -> FastAPI:
    """The control plane as an ASGI app. `context.start()` must run on the loop before the first request."""
    app = _routes()
    app.state.context = context
    app.add_middleware(Edge, registry=context.registry)
    return app


def openapi_document() -> Mapping[str, object]:
    """The OpenAPI 3.1 description of every route, made without a database."""
    return _routes().openapi()


def _routes() -> FastAPI:
    app = PlatformApp(
        title="Portside",
        version=API_VERSION,
        summary="From a trained model file to a live, versioned, observable REST service.",
        openapi_url=OPENAPI,
        docs_url=None,  # the pages FastAPI brings load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    install(app)
    resources = (models, versions, parts, trials, services, replicas, service_metrics, predictions, snippets, runtimes)
    data = (datasets, dataset_files, uploads, jobs, runs, run_reports, scripts, schedules)
    others = (histories, files, operations, batches, webhooks, deliveries, events, me, tokens, switches, system, health)
    # The routes themselves: what FastAPI makes of an included router is built again at the first request (0.2 s), and
    # asked twice at each.
    for router in (*(module.router for module in (*resources, *data, *others)), health.metered):
        app.router.routes.extend(router.routes)
    # Explicit, so that a console mounted at `/` later never answers for an unknown API path.
    app.add_api_route("/api/{rest:path}", unknown_path, methods=list(METHODS), include_in_schema=False)
    return app


async def unknown_path(request: Request) -> Response:
    """404, or 405 with `Allow` where the path exists."""
    return no_route(request.scope)
