"""The PMML engine: PMML4S, which PyPMML packages, inside this process through JPype.

`describe` never starts Java; `load` starts the process's one JVM at its first call.
"""

import threading
from pathlib import Path

from serving.engines.base import LoadedModel
from serving.engines.pmml_describe import signature_of
from serving.engines.pmml_java import Java, read_model
from serving.engines.pmml_jvm import ensure_jvm
from serving.engines.pmml_model import LoadedPmml
from serving.engines.pmml_reader import read_document
from serving.engines.providers import gpus_asked_for, no_gpu
from serving.signature import Signature


class PmmlEngine:
    """Implements `Engine` for PMML 3.0 to 4.4."""

    def __init__(self) -> None:
        self._starting = threading.Lock()

    def describe(self, path: Path) -> Signature:
        """Read the file in one pass; Java stays out. Raises `InvalidModel` naming the line."""
        return signature_of(read_document(path))

    def load(self, path: Path, signature: Signature, threads: int) -> LoadedModel:
        """Start Java if needed and build the model. Raises `InvalidModel` with PMML4S's reason."""
        if gpus_asked_for():
            raise no_gpu("PMML runs in Java, on the processor")
        with self._starting:
            ensure_jvm(threads)
        java = Java.attach()
        return LoadedPmml(java, read_model(java, path), signature)
