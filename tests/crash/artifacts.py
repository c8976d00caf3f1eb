"""Model files that differ in their bytes only, so that every upload is a blob of its own."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, TensorProto

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Artifact:
    """A file to upload: its bytes, and where the directory store keeps them."""

    content: bytes

    @property
    def hex(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def blob(self, data: Path) -> Path:
        return data / "artifacts" / "sha256" / self.hex[:2] / self.hex


def onnx_artifact(salt: str, bulk_bytes: int = 0) -> Artifact:
    """The iris classifier with a description of its own, and so many bytes of a constant that nothing uses."""
    more = ModelProto(doc_string=salt)
    if bulk_bytes:
        bulk = TensorProto(name="bulk", data_type=TensorProto.UINT8, dims=[bulk_bytes], raw_data=bytes(bulk_bytes))
        more.graph.initializer.append(bulk)
    # Protobuf merges messages that stand one after the other.
    return Artifact((EXAMPLES / "iris.onnx").read_bytes() + more.SerializeToString())


def pmml_artifact(salt: str) -> Artifact:
    """The iris forest, followed by a comment."""
    return Artifact((EXAMPLES / "iris.pmml").read_bytes() + f"<!-- {salt} -->\n".encode())
