"""The Open Inference Protocol (V2) over REST: metadata and infer, for tensor and PMML models alike.

The protocol's "model" is Portside's service. Every client mistake is a 4xx; a NaN is never written as JSON.
"""

from collections.abc import Mapping, Sequence

import msgspec

from serving.engines.base import Columns
from serving.json_text import plain
from serving.messages import Response
from serving.problems import Problem
from serving.protocols.model_config import config_of
from serving.protocols.oip_request import HEADER, asked_of
from serving.protocols.raw import Buffer
from serving.protocols.tensors import Tensor, TensorModel, metadata
from serving.reading import Reading
from serving.score import Scorer
from serving.statistics import now

BINARY = "application/octet-stream"
TOLD_HEADER = "inference-header-content-length"


class OipModel:
    """Answers the protocol for one scorer. Thread-safe."""

    def __init__(self, scorer: Scorer, version: str | None = None, versions: Sequence[str] = ()) -> None:
        """`version` is what clients call it where that is not the model's own, `versions` all that they may ask for."""
        self.tensors = TensorModel(scorer, version, versions)
        self._encoder = msgspec.json.Encoder(enc_hook=plain)
        self._about = {"model_name": self.tensors.name, "model_version": self.tensors.version}

    def metadata(self) -> bytes:
        """The model metadata response."""
        tensors, signature = self.tensors, self.tensors.signature
        return self._encoder.encode(
            {
                "name": tensors.name,
                "versions": tensors.versions,
                "platform": signature.platform,
                "inputs": [metadata(field) for field in signature.inputs],
                "outputs": [metadata(field) for field in signature.outputs],
            }
        )

    def config(self) -> bytes:
        """The model configuration response."""
        return self._encoder.encode(config_of(self.tensors))

    def infer(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response:
        """The infer response. Raises `Problem`, to be told as `{"error": …}`."""
        return self.read(body, headers).answer()

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> Reading:
        """What an infer request asks the engine. Raises `Problem`."""
        begun, tensors = now(), self.tensors
        statistics = tensors.scorer.statistics
        asked = asked_of(tensors, body, headers.get(HEADER))
        parsed = now()
        columns, wanted = tensors.columns(asked.given), tensors.wanted(asked.wanted)
        validated, asked_id = now(), asked.id  # and no more of it, which may be large

        def tell(outputs: Columns) -> Response:
            computed = now()
            response = self._encoded(tensors.tensors(outputs, wanted), asked_id)
            statistics.answered(begun, parsed, validated, computed)
            return response

        return Reading(tensors.scorer, columns, tell)

    def _encoded(self, told: Sequence[Tensor], asked_id: str | None) -> Response:
        raws: list[Buffer] = []
        about: dict[str, object] = dict(self._about) if asked_id is None else {**self._about, "id": asked_id}
        about["outputs"] = [_told(tensor, raws) for tensor in told]
        text = self._encoder.encode(about)
        if not any(tensor.is_binary for tensor in told):
            return Response(200, text)
        return Response(200, b"".join([text, *raws]), BINARY, {TOLD_HEADER: str(len(text))})


def _told(tensor: Tensor, raws: list[Buffer]) -> Mapping[str, object]:
    """One output of the response; its bytes go to those that follow the JSON."""
    head: dict[str, object] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.array.shape),
    }
    if not tensor.is_binary:
        head["data"] = tensor.values()
        return head
    raw = tensor.raw()
    raws.append(raw)
    head["parameters"] = {"binary_data_size": len(raw)}
    return head


def error_text(problem: Problem) -> str:
    """A problem in the one string that the protocol has for errors."""
    parts = [problem.detail, *(each.hint for each in problem.errors[:1] if each.hint), problem.hint]
    return "; ".join(part for part in parts if part)
