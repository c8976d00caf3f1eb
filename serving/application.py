"""The routes of a model server, and where each request is answered: on the loop, in the pool, or not at all.

Before the model is loaded only the health routes answer; the others say 503.
"""

import asyncio
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import msgspec

from serving import answering, telemetry
from serving.batcher import Call, Plan
from serving.connection import problem_response
from serving.crew import Crew
from serving.edge import guarded, refused
from serving.encodings import answered, is_coded, suited, weight
from serving.express import Express
from serving.heads import (
    bearer,
    is_plain,
    loading,
    may_be_small,
    method_problem,
    package_version,
    path_of,
    refuse_other_body,
    refuse_other_content,
    refuse_tensors,
    token_problem,
)
from serving.loading import Loaded
from serving.media import wants_arrow
from serving.messages import Request, Response
from serving.native.way import QuickWay
from serving.open import open_methods
from serving.pace import Pace
from serving.problems import Problem
from serving.protocols import grpc_status, v1
from serving.protocols.oip_admin import EXTENSIONS, OipAdmin
from serving.protocols.oip_rest import OipModel
from serving.protocols.surface import ReplicaSurface
from serving.protocols.tensors import TensorModel
from serving.reading import Read, Reading, most_read_bytes
from serving.room import Budget, Room
from serving.routes import Handler, Route, get, read_of, told
from serving.score import Identity, Scorer, too_much
from serving.statistics import now
from serving.targets import DEFAULT, model_paths, predict_paths, prediction_targets
from serving.tickets import too_late
from serving.tuning import UNTUNED, Tuning
from serving.unrouted import unrouted


@dataclass(frozen=True, slots=True)
class Served:
    """One loaded model in both protocols, how long it takes, and the threads for what takes long."""

    scorer: Scorer
    oip: OipModel
    pace: Pace
    crew: Crew
    reads: Pace  # how long it takes to read what is run together
    express: Express


class ModelServer:
    """Answers requests for one model, or for the parts of one. Lives on the loop, except for its work."""

    def __init__(
        self,
        identity: Identity,
        token: str | None,
        threads: int,
        tuning: Tuning = UNTUNED,
        max_body_bytes: int = 2**26,
        quick: QuickWay | None = None,
    ) -> None:
        """`max_body_bytes` is how large a body may become once it is inflated; `quick` is told of each model."""
        self._identity, self._tuning, self._max_body_bytes = identity, tuning, max_body_bytes
        self._plan = Plan(instances=tuning.instances or max(2, threads))  # of what is not run together
        self._quick, self._authorization, self._threads = quick, bearer(token), tuning.instances or threads
        self.room, self._inflated = Room(tuning.max_in_flight_bytes), Budget(tuning.max_in_flight_bytes)
        self._served: dict[str, Served] = {}
        self._is_stopping = self._knows_grpc = False
        self._reading_grpc = asyncio.Lock()
        self._admin = OipAdmin(identity.name, identity.version, self._keys, lambda: self.is_ready)
        self._routes = self._health_routes() | self._predict_routes(DEFAULT) | self._tensor_routes(DEFAULT)
        self._routes |= self._v1_routes(DEFAULT)

    @property
    def is_ready(self) -> bool:
        """Whether predictions are answered."""
        return bool(self._served) and not self._is_stopping

    def serve(self, scorer: Scorer, call_s: float, parts: Mapping[str, Loaded] = MappingProxyType({})) -> None:
        """Begin to answer predictions; `call_s` is how long a small one takes.

        `parts` are answered by their keys, too: on the inference surface each is a version of the model.
        """
        versions = [self._identity.version, *parts]
        self._served[DEFAULT] = self._made(scorer, OipModel(scorer, versions=versions), call_s)
        self._hasten(DEFAULT)
        for key, part in parts.items():
            self._served[key] = self._made(part.scorer, OipModel(part.scorer, key, versions), part.call_s)
            self._routes = self._predict_routes(key) | self._tensor_routes(key) | self._v1_routes(key) | self._routes
            self._hasten(key)

    def _hasten(self, part: str) -> None:
        """Let the compiled way answer what it can of this model, if it is a quick one, and read its large records."""
        if self._quick is None:
            return
        served, targets = self._served[part], prediction_targets(self._identity.name, self._identity.version, part)
        self._quick.read(served.scorer)
        if served.pace.may_fit_loop():
            self._quick.add(served.scorer, served.oip, served.pace, targets)

    def _made(self, scorer: Scorer, oip: OipModel, call_s: float) -> Served:
        batcher = scorer.batcher or scorer.batch(self._plan)
        scorer.belongs_to_loop()
        crews = (served.crew for served in self._served.values() if served.scorer is scorer)
        crew = next(crews, None) or Crew(batcher, self._tuning.max_queue, self._tuning.memory_mb)
        mixes, most_bytes = batcher.plan.max_records > 1, most_read_bytes(scorer.signature)
        reads = Pace(0.0, may_hold_loop=mixes, most_bytes=most_bytes)
        pace, express = Pace(call_s, may_hold_loop=not mixes), Express(scorer, crew, self._threads)
        return Served(scorer, oip, pace, crew, reads, express)

    def stop(self) -> None:
        """Stop being ready; requests that still come are answered."""
        self._is_stopping = True

    def answer(self, request: Request) -> "Response | asyncio.Future[Response]":
        """See `messages.Application`."""
        route = self._routes.get(request.target) or self._routed(path_of(request.target))
        if route is None and not self._knows_grpc and grpc_status.is_grpc(request.target):
            if request.target not in grpc_status.OPEN and not self._is_allowed(request):
                return refused(request, token_problem())
            return asyncio.ensure_future(self._first_of_grpc(request))
        if route is None:  # which parts there are is nobody else's business
            return refused(request, self._unrouted(request) if self._is_allowed(request) else token_problem())
        handler = route.handlers.get(b"GET" if request.method == b"HEAD" else request.method)
        if handler is None:
            return refused(request, method_problem(request, route.handlers))
        if not route.is_open and not self._is_allowed(request):
            return refused(request, token_problem())
        served = self._served.get(route.part if route.part_of is None else route.part_of(request.body))
        if not route.is_work:
            return guarded(handler, request)
        if served is None:
            return refused(request, loading())
        if request.deadline is not None and time.monotonic() >= request.deadline:
            return self._not_begun(served, request, too_late())
        if route.read is not None and (answer := self._answered_together(served, route, route.read, request)):
            return answer
        size, pace = len(request.body), served.pace
        # What a query asks for (the answers of the other records) takes ten times as long as a body of its size.
        is_short = b"?" not in request.target and pace.fits_loop(size)
        if is_short and is_plain(request.headers):
            begun = now()
            response = guarded(handler, request)
            pace.observe((now() - begun) / 1e9)
            if response.status != 200 and route.is_counted:
                served.scorer.statistics.failed(begun)
            return response
        if is_coded(request):
            handler = partial(answered, handler, max_bytes=self._max_body_bytes, budget=self._inflated)
            size = weight(request)
        work = partial(self._counted, served, route, handler, request)
        if is_short and size == len(request.body) and not wants_arrow(request.headers):
            return pace.timed(work, size)
        not_begun = partial(self._not_begun, served, request)
        return served.crew.answer(partial(pace.timed, work, size), not_begun, request.deadline)

    def _answered_together(
        self, served: Served, route: Route, read: Read, request: Request
    ) -> "Response | asyncio.Future[Response] | None":
        """Read on the loop, in their order, small requests that are run together; what needs no reading is handed on.

        The threads that wait for the engine wake one another, and answer in any order.
        """
        if route.relays and (relayed := served.express.answer(request)) is not None:
            return relayed
        crew, size, begun = served.crew, len(request.body), now()
        if not (served.reads.concerns(size) and may_be_small(request)):
            return None
        not_begun = partial(self._not_begun, served, request)
        if not served.reads.fits_loop(size):
            work = partial(self._counted, served, route, partial(self._read_aside, served, route, read), request)
            return crew.answer(work, not_begun, request.deadline)
        if (full := crew.refusal()) is not None:
            return not_begun(full)
        reading = served.reads.timed(partial(guarded, read, request), size)
        if isinstance(reading, Reading) and reading.is_small:
            return crew.ask(
                reading, partial(self._told, served, route, request, begun, reading), not_begun, request.deadline
            )
        if isinstance(reading, Response) and route.is_counted:
            served.scorer.statistics.failed(begun)
        return reading if isinstance(reading, Response) else None

    def _read_aside(self, served: Served, route: Route, read: Read, request: Request) -> Response:
        """The same in a thread, until reading is quick again."""
        reading = served.reads.timed(partial(read, request), len(request.body))
        response = route.handlers[request.method](request) if reading is None else reading.answer()
        return suited(response, request)

    def _told(
        self, served: Served, route: Route, request: Request, begun: int, reading: Reading, call: Call
    ) -> Response:
        """The answer to what was read, once the engine has been asked."""

        def tell(request: Request) -> Response:
            return suited(reading.tell(call.result()), request)

        return self._counted(served, route, tell, request, begun)

    async def _first_of_grpc(self, request: Request) -> Response:
        """Answer once its libraries are read, beside the loop: they take longer than a health check may."""
        try:
            async with self._reading_grpc:
                if not self._knows_grpc:
                    more = await asyncio.to_thread(self._grpc_routes)
                    self._routes, self._knows_grpc = {**self._routes, **more}, True
        except (MemoryError, RuntimeError):  # the latter where there is none for a thread
            return refused(request, too_much())
        answer = self.answer(request)
        return answer if isinstance(answer, Response) else await answer

    def _not_begun(self, served: Served, request: Request, problem: Problem) -> Response:
        """The refusal of a request that never got as far as to be read."""
        served.scorer.statistics.refused(problem.code)
        served.scorer.statistics.failed(now())
        return refused(request, problem)

    def refusal(self, problem: Problem) -> Response:
        """See `messages.Application`."""
        return problem_response(problem, "")

    def _is_allowed(self, request: Request) -> bool:
        if self._authorization is None:
            return True
        return hmac.compare_digest(request.headers.get(b"authorization", b""), self._authorization)

    def _counted(
        self, served: Served, route: Route, handler: Handler, request: Request, begun: int | None = None
    ) -> Response:
        begun = now() if begun is None else begun
        response = guarded(handler, request)
        if response.status != 200 and route.is_counted:
            served.scorer.statistics.failed(begun)
        return response

    def _unrouted(self, request: Request) -> Problem:
        path = path_of(request.target).decode("utf-8", "replace")
        return unrouted(path, self._identity, self._keys(), is_loading=not self._served)

    def _keys(self) -> list[str]:
        return [key for key in self._served if key != DEFAULT]

    def _loaded(self, part: str) -> Served:
        served = self._served.get(part)
        if served is None:
            raise loading()
        return served

    def _health_routes(self) -> dict[bytes, Route]:
        live = get(lambda request: Response(200, b'{"live":true}'), is_open=True)
        ready = get(self._ready, is_open=True)
        about = {"name": "portside", "version": package_version(), "extensions": EXTENSIONS}
        return {
            # Where KServe's client looks whether a server of its V1 protocol lives.
            b"/": get(lambda request: Response(200, b'{"status":"alive"}'), is_open=True),
            b"/healthz": live,
            b"/readyz": ready,
            b"/v2": get(lambda request: Response(200, msgspec.json.encode({**about, **self._runs_on()}))),
            b"/v2/health/live": live,
            b"/v2/health/ready": ready,
            b"/metrics": get(self._metrics),
            b"/v2/models/stats": get(partial(self._told_statistics, self._served)),
        }

    def _routed(self, path: bytes) -> Route | None:
        if (route := self._routes.get(path)) is not None:
            return route
        handlers = self._admin.handlers(path.decode("utf-8", "replace"))
        return None if handlers is None else Route(handlers)

    def _metrics(self, request: Request) -> Response:
        return Response(200, telemetry.exposed(self._identity.service, self._served, self.room), telemetry.CONTENT_TYPE)

    def _told_statistics(self, parts: Iterable[str], request: Request) -> Response:
        """Those of the default model, or of some parts, in the words of Triton."""
        told = [
            served.scorer.statistics.entry(self._identity.name, part or self._identity.version)
            for part in parts
            for served in (self._loaded(part),)
        ]
        return Response(200, msgspec.json.encode({"model_stats": told}))

    def _ready(self, request: Request) -> Response:
        return Response(200, b'{"ready":true}') if self.is_ready else Response(503, b'{"ready":false}')

    def _runs_on(self) -> dict[str, str]:
        """What runs the model, once it is loaded."""
        served = self._served.get(DEFAULT)
        if served is None:
            return {}
        is_compiled = self._quick is not None and self._quick.knows(served.scorer)
        about = {"execution_provider": served.scorer.execution_provider}
        return {**about, "small_json": "compiled" if is_compiled else "python"}

    def _predict_routes(self, part: str) -> dict[bytes, Route]:
        def predict(request: Request) -> Response:
            return answering.answer(self._loaded(part).scorer, request)

        def asked(request: Request) -> Reading | None:
            return answering.reading(self._loaded(part).scorer, request)

        def read(request: Request) -> Response:
            refuse_tensors(request.headers)
            return answering.read(self._loaded(part).scorer, request.body, request.headers)

        route = Route({b"POST": predict}, is_work=True, part=part, read=asked, relays=True)
        at = "" if part == DEFAULT else f"/parts/{part}"
        # The last is for the workers, who keep what was asked.
        reading = Route({b"POST": read}, is_work=True, is_counted=False, part=part)
        return {**dict.fromkeys(predict_paths(self._identity.name, part), route), f"{at}/read".encode(): reading}

    def _tensor_routes(self, part: str) -> dict[bytes, Route]:
        def infer(request: Request) -> Response:
            refuse_other_content(request.headers)
            return self._loaded(part).oip.infer(request.body, request.headers)

        def asked(request: Request) -> Reading:
            refuse_other_content(request.headers)
            return self._loaded(part).oip.read(request.body, request.headers)

        def model_ready(request: Request) -> Response:
            body = msgspec.json.encode({"name": self._identity.name, "ready": self.is_ready})
            return Response(200 if self.is_ready else 503, body)

        routes: dict[bytes, Route] = {}
        paths = model_paths(self._identity.name, self._identity.version, part)
        for path in paths:
            routes[path.encode()] = get(lambda request: Response(200, self._loaded(part).oip.metadata()))
            routes[f"{path}/ready".encode()] = get(model_ready)
            routes[f"{path}/config".encode()] = get(lambda request: Response(200, self._loaded(part).oip.config()))
            stated = self._served if len(paths) > 1 and path == paths[0] else [part]
            routes[f"{path}/stats".encode()] = get(partial(self._told_statistics, stated))
            routes[f"{path}/infer".encode()] = Route({b"POST": infer}, is_work=True, part=part, read=asked)
        return routes

    def _v1_routes(self, part: str) -> dict[bytes, Route]:
        handlers = v1.handlers(
            self._identity,
            part or self._identity.version,
            lambda: self._loaded(part).scorer,
            lambda: self.is_ready,
            refuse_other_body,
            is_default=part == DEFAULT,
        )

        def asked(request: Request) -> Reading | None:
            refuse_other_body(request)
            return v1.V1Model(self._loaded(part).scorer).read(request.body)

        works = {path for path in handlers if path.endswith(":predict")}
        return {
            path.encode(): Route(each, is_work=path in works, part=part, read=asked if path in works else None)
            for path, each in handlers.items()
        }

    def _grpc_routes(self) -> dict[bytes, Route]:
        """Each method's message is the body of a POST: the gateway asks so."""

        def found(part: str) -> TensorModel | None:
            served = self._served.get(part)
            return None if served is None else served.oip.tensors

        surface = ReplicaSurface(self._identity, found, self._keys, lambda: self.is_ready, package_version())
        methods = open_methods(surface)

        def part_of(message: bytes) -> str:
            part = methods.part_of(message) if len(self._served) > 1 else DEFAULT
            return part if part in self._served else DEFAULT  # one that is not there is refused beside the loop, too

        return {
            path.encode(): Route(
                {b"POST": partial(told, method)},
                is_open=method.is_open,
                is_work=method.is_work,
                part_of=part_of if method.is_work else None,
                read=read_of(method),
            )
            for path, method in methods.by_path().items()
        }
