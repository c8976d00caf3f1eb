"""Holds the compiled way against Python's for a model that is just loaded: each form of a request, one record and two.

What it answers must be the same bytes. Where it is not, the model is Python's alone, and the log says so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from serving.engines.base import Columns
from serving.messages import Response, ResponseEncoder
from serving.native.telling import Untold, encoded
from serving.problems import Problem
from serving.protocols.oip_rest import OipModel
from serving.protocols.v1 import V1Model
from serving.score import Scorer
from serving.targets import Surface

DATE: Final = b"\r\ndate: "
Answer = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One record in JSON, and as the columns that it is checked to be."""

    record: Mapping[str, object]
    columns: Columns

    def bodies(self, surface: Surface, oip: OipModel) -> Iterator[dict[str, object]]:
        """Bodies that ask about it."""
        if surface == Surface.INFER:
            return self.tensors(oip)
        return self.instances() if surface == Surface.KSERVE else self.predictions()

    def predictions(self) -> Iterator[dict[str, object]]:
        """Bodies that ask about it once and twice."""
        names, values = list(self.record), list(self.record.values())
        yield {"inputs": self.record}
        for records in (1, 2):
            yield {"inputs": [self.record] * records}
            yield {"columns": names, "data": [values] * records}

    def instances(self) -> Iterator[dict[str, object]]:
        """The same for KServe's V1."""
        for records in (1, 2):
            yield {"instances": [self.record] * records}
            if len(self.record) == 1:
                yield {"instances": list(self.record.values()) * records}

    def tensors(self, oip: OipModel) -> Iterator[dict[str, object]]:
        """The same for the tensor protocol."""
        for records in (1, 2):
            inputs = [
                {
                    "name": field.name,
                    "shape": [records, *self.columns[field.name].shape[1:]],
                    "datatype": field.datatype,
                    "data": self.columns[field.name].reshape(-1).tolist() * records,
                }
                for field in oip.tensors.signature.inputs
            ]
            yield {"id": "trial", "inputs": inputs}


def prove(
    answer: Answer, scorer: Scorer, oip: OipModel, targets: Mapping[bytes, Surface], sample: Sample, about: bytes
) -> None:
    """Try all targets; `about` are header lines that each request needs. Raises `Untold`."""
    found = 0
    for target, surface in targets.items():
        for body in sample.bodies(surface, oip):
            text = encoded(body)
            given = answer(
                b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (target, about, len(text), text)
            )
            if given is None:
                continue
            found += 1
            if _without_date(given) != _without_date(_expected(scorer, oip, text, surface)):
                raise Untold(f"its answer to {text[:200]!r} is another one")
    if not found:
        raise Untold("it answers nothing")


def _expected(scorer: Scorer, oip: OipModel, text: bytes, surface: Surface) -> bytes:
    try:
        if surface == Surface.INFER:
            response = oip.infer(text, {})
        else:
            response = Response(200, (V1Model(scorer) if surface == Surface.KSERVE else scorer).predict(text))
    except Problem as problem:
        raise Untold(problem.detail) from problem
    return ResponseEncoder().encode(response)


def _without_date(response: bytes) -> bytes:
    """A response but for the second in which it was made."""
    before, _, rest = response.partition(DATE)
    return before + rest.partition(b"\r\n")[2]
