"""The compiled way: one plain request from bytes to bytes, or `None`, and then it is Python's as if nothing had been.

Parse and validate are one call of the library, run is the engine's, encode another call; nothing else is done here.
"""

import ctypes
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from serving.native.bound import BoundModel, Named
from serving.native.library import Library, Server, open_library
from serving.native.records import let_read
from serving.native.telling import Untold
from serving.native.trial import Sample, prove
from serving.pace import Pace
from serving.problems import Problem
from serving.protocols.oip_rest import OipModel
from serving.sample import candidate_samples
from serving.score import Scorer
from serving.statistics import now
from serving.targets import Surface

_OUT_BYTES: Final = 1 << 19  # as there
LARGEST_BYTES: Final = 32 * 1024  # of a request, as there
_LOWER: Final = 0xFFFF_FFFF


class QuickWay:
    """Answers the plain requests of the models that it was given. Lives on the loop."""

    def __init__(self, library: Library, token: bytes = b"") -> None:
        """`token` is the whole value that an Authorization header must have; empty: none is asked for."""
        self._library, self._token = library, token
        self._kept = Server(library, token)
        self._server: int = self._kept.at
        out = library.function("out")(self._server)
        self._out = memoryview((ctypes.c_char * _OUT_BYTES).from_address(out)).cast("B")
        self._ask, self._tell = library.function("ask"), library.function("tell")
        self._models: dict[int, tuple[BoundModel, Pace, Scorer]] = {}

    def add(self, scorer: Scorer, oip: OipModel, pace: Pace, targets: Mapping[bytes, Surface]) -> bool:
        """Answer for a model that is just loaded at these request targets, if that can be."""
        try:
            sample = _sample(scorer)
            named = Named(oip.tensors.name, oip.tensors.version)
            model = BoundModel(self._kept, scorer, named, sample.columns)
            self._models[model.number + 1] = (model, Pace(0.0), scorer)  # until it is proven, however long that takes
            try:
                self._open(model, targets)
                about = b"authorization: %b\r\n" % self._token if self._token else b""
                prove(self.answer, scorer, oip, targets, sample, about)
            except (Untold, MemoryError):
                del self._models[model.number + 1]
                self._library.function("forget")(self._server, model.number)
                raise
            self._models[model.number + 1] = (model, pace, scorer)
        except (Untold, MemoryError) as reason:
            sys.stderr.write(f"small requests to {scorer.identity.name} are answered by Python: {reason}\n")
            return False
        finally:
            scorer.statistics.fold()
            scorer.statistics.forget()  # what was tried
        return True

    def read(self, scorer: Scorer) -> None:
        """Read here what one plain record of this model says, where that pays; the engine is asked elsewhere."""
        with suppress(Untold):
            let_read(self._library, scorer)

    def knows(self, scorer: Scorer) -> bool:
        """Whether some requests of this model are answered here."""
        return any(each is scorer for _, _, each in self._models.values())

    def answer(self, data: bytes) -> bytes | None:
        """The whole response to what is one whole request of the plain kind; nothing yet (empty) to the begin of one,
        and `None` for anything else."""
        asked = self._ask(self._server, data, len(data))
        if asked <= 0:
            return b"" if asked else None
        model, pace, scorer = self._models[asked >> 32]
        if not pace.fits_loop(len(data)):
            return None
        begun = now()
        try:
            if not model.run(asked & _LOWER):
                return None
            told = self._tell(self._server)
            if told < 0:  # it keeps as many figures as it can
                told = -told
                scorer.statistics.fold()
            begin = told >> 32
            answer = self._out[begin : begin + (told & _LOWER)].tobytes()
        except MemoryError:  # Python says so
            return None
        pace.observe((now() - begun) / 1e9)
        return answer or None

    def _open(self, model: BoundModel, targets: Mapping[bytes, Surface]) -> None:
        for target, surface in targets.items():
            if self._library.function("route")(self._server, target, len(target), model.number, surface) < 0:
                raise Untold("there are more models than what is compiled takes")


def open_way(token: bytes = b"") -> QuickWay:
    """The compiled way, where its library was built. Raises `NotThere`."""
    return QuickWay(open_library(), token)


def _sample(scorer: Scorer) -> Sample:
    """A record that the model's validation takes. Raises `Untold`."""
    for record in candidate_samples(scorer.signature):
        try:
            return Sample(record, scorer.validator.question({"inputs": record}).calls[0])
        except Problem:
            continue
    raise Untold("there is no sample to try it with")
