"""A loaded ONNX model: one onnxruntime session, its answers by name, its errors in words.

Imports nothing of the package onnx, which costs a replica a fifth of its start: see `onnx_rewriting`.
"""

import mmap
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.engines.base import Columns, InvalidModel, PredictionRefused, Texts
from serving.engines.onnx_runtime import RUNTIME_ERRORS, VERSION, Session, open_served
from serving.signature import Signature

# The operators that wrap tensors in maps and sequences, by name as a file has it: see `onnx_outputs`.
WRAPPER_WORDS = (b"ZipMap", b"SequenceConstruct")
TREES_WORD = b"TreeEnsemble"
_LARGEST_TREES_BYTES = 256 * 1024 * 1024  # of a file: to read it takes some times its size, for a moment
_LONGEST_MESSAGE = 400
_ALIGNMENT_BYTES = 16


class OnnxModel:
    """A model in memory. onnxruntime's `run` is thread-safe and lets go of the interpreter lock."""

    def __init__(self, session: Session, signature: Signature) -> None:
        self._session: Session | None = session
        self.execution_provider = session.get_providers()[0]
        self._outputs = [output.name for output in signature.outputs]
        self._texts = [field.name for field in signature.inputs if field.datatype == "BYTES"]
        # labels that the file lays out as [1, N]: see onnx_describe.output_shape
        stacked = signature.batch == "stack"
        self._rows = [o.name for o in signature.outputs if stacked and o.role == "label" and o.shape == (-1,)]

    def predict(self, columns: Columns) -> Columns:
        """Run the graph once over whole columns. Raises `PredictionRefused` with onnxruntime's reason."""
        session = self._session
        if session is None:
            raise PredictionRefused("the model is closed")
        for name in self._texts:
            _check_texts(name, columns.get(name))
        try:
            results = session.run(self._outputs, {name: aligned(column) for name, column in columns.items()})
        except RUNTIME_ERRORS as error:
            raise PredictionRefused(plain_words(str(error))) from error
        answers: dict[str, NDArray[np.generic]] = dict(zip(self._outputs, results, strict=True))
        for name in self._rows:
            if answers[name].ndim > 1:
                answers[name] = answers[name].reshape(-1)
        return answers

    def bind(self, inputs: Columns, outputs: Columns, texts: Sequence[str]) -> Callable[[], Texts]:
        """See `BindableModel.bind`."""
        if self._session is None:
            raise PredictionRefused("the model is closed")
        try:
            run = self._session.bind(inputs, outputs, texts)
        except RUNTIME_ERRORS as error:
            raise PredictionRefused(plain_words(str(error))) from error

        def bound() -> Texts:
            try:
                return run()
            except RUNTIME_ERRORS as error:
                raise PredictionRefused(plain_words(str(error))) from error

        return bound

    def close(self) -> None:
        """Free the session once running predictions have ended."""
        self._session = None


def aligned(column: NDArray[np.generic]) -> NDArray[np.generic]:
    """The column where numpy would put it: onnxruntime sums in another order from an address that is no multiple of 16.

    A tensor of a binary body or a part of a column begins anywhere, and its answer must not depend on that.
    """
    owner = column if column.base is None else column.base
    if type(owner) is np.ndarray and owner.flags.owndata and owner.size == column.size and column.flags.c_contiguous:
        return column  # memory of numpy's own, which is aligned: to look at the address takes a microsecond
    if column.__array_interface__["data"][0] % _ALIGNMENT_BYTES:
        return column.copy()
    return column


def load_unchanged(path: Path, threads: int) -> Session | None:
    """A session over the file itself; None where it must be rewritten first. Raises `InvalidModel`."""
    if any(_contains(path, word) for word in WRAPPER_WORDS):
        return None
    try:
        return open_served(str(path), threads)
    except RUNTIME_ERRORS as error:
        if wants_a_locale(error):
            return None
        raise refused(error) from error


def may_be_trees(path: Path) -> bool:
    """Whether to look for trees in the file pays. Raises `OSError`."""
    return path.stat().st_size <= _LARGEST_TREES_BYTES and _contains(path, TREES_WORD)


def wants_a_locale(error: Exception) -> bool:
    """StringNormalizer wants the locale it was exported for, which slim systems do not have."""
    return "locale" in str(error)


def refused(error: Exception) -> InvalidModel:
    """What the model's owner is told when onnxruntime does not load it."""
    return InvalidModel(
        "onnx_refused_by_runtime",
        f"onnxruntime {VERSION} refuses the model: {plain_words(str(error))}",
        "Load the file with onnxruntime where it was made; if it loads there, compare the versions.",
    )


def _contains(path: Path, word: bytes) -> bool:
    """Whether the bytes occur in the file, without reading it into memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(word) >= 0


def _check_texts(name: str, column: NDArray[np.generic] | None) -> None:
    """onnxruntime would take `None` as the text "None"."""
    if column is not None and column.dtype == object and not all(isinstance(item, str) for item in column.flat):
        raise PredictionRefused(f"the input {name!r} takes texts only, and one value is not a text")


def plain_words(message: str) -> str:
    """onnxruntime's message without its codes, file paths, source lines and C++ signatures."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", message.strip())
    text = re.sub(r"Load model from .*? failed:\s*", "", text, flags=re.DOTALL)
    text = re.sub(
        r"Non-zero status code returned while running (\w+) node\. Name:'[^']*' Status Message:", r"\1:", text
    )
    text = re.sub(r"\S*/\S+\.(?:cc|h|hpp|cpp|cu):\d+", "\x00", text)
    while (start := text.find("\x00")) >= 0:
        text = text[:start] + _after_signature(text[start + 1 :])
    text = " ".join(text.replace("Exception during initialization:", "").split()).strip(" .:")
    return (text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…") or "no reason given"


def _after_signature(text: str) -> str:
    """What follows the C++ function that onnxruntime names behind a source line."""
    asserted = re.match(r".*? was false\.", text, re.DOTALL)
    if asserted and text[asserted.end() :].strip():
        return text[asserted.end() :]
    start = text.find("(")
    if "onnxruntime::" not in text[: start + 1] and not text.lstrip().startswith(("virtual", "void", "static")):
        return text
    depth = 0
    for position, character in enumerate(text[start:], start):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return re.sub(r"^(?:::<lambda\S*>)? ?(?:const )?(?:\[with [^\]]*\] )?", "", text[position + 1 :])
    return text
