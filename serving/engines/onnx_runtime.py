"""The one door to onnxruntime: its sessions, its errors, its operators, and its telemetry kept off.

No other module imports onnxruntime, because what it does at import must be forbidden before.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

# At import, onnxruntime 1.31 makes a device id and a database of events in the user's cache folder, and some seconds
# later sends them; disable_telemetry_events() comes too late for the first and does not stop the second.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as binding

from serving.bfloat16 import narrowed, widened
from serving.engines.providers import CPU, check_loaded, gpus_asked_for, providers_for

if TYPE_CHECKING:
    import onnx.defs  # costs a replica a fifth of its start, and most replicas need it for nothing

VERSION = str(onnxruntime.__version__)

# Every class that the binding raises derives from Exception alone. RuntimeError, ValueError and TypeError come from
# onnxruntime's Python side, MemoryError from a failed allocation.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    binding.DeviceReset,
    binding.EPFail,
    binding.EngineError,
    binding.Fail,
    binding.InvalidArgument,
    binding.InvalidGraph,
    binding.InvalidProtobuf,
    binding.ModelLoadCanceled,
    binding.ModelLoaded,
    binding.ModelRequiresCompilation,
    binding.NoModel,
    binding.NoSuchFile,
    binding.NotFound,
    binding.NotImplemented,
    binding.RuntimeException,
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)
_SILENT = 4  # fatal only: what goes wrong comes as an exception
_BFLOAT16, _BFLOAT16_TENSOR = 16, "tensor(bfloat16)"


Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


class Session(Protocol):
    """What we use of onnxruntime's InferenceSession; `run` is thread-safe."""

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """The named outputs for the named inputs. Raises one of `RUNTIME_ERRORS`."""
        ...

    def bind(self, inputs: Arrays, outputs: Arrays, texts: Sequence[str]) -> Callable[[], Sequence[Array]]:
        """See `base.BindableModel.bind`. Raises one of `RUNTIME_ERRORS`, as does what it returns."""
        ...

    def get_providers(self) -> list[str]:
        """The execution providers that it has, the preferred one first."""
        ...


def open_served(model: str | bytes, threads: int) -> Session:
    """A session on what this process was started for. Raises one of `RUNTIME_ERRORS`, or `InvalidModel` for a GPU."""
    gpus = gpus_asked_for()
    session = open_session(model, threads, providers_for(gpus, onnxruntime.get_available_providers()))
    check_loaded(gpus, session.get_providers())
    return session


def open_session(model: str | bytes, threads: int, providers: Sequence[str] = (CPU,)) -> Session:
    """A session over a file or a serialised model. Raises one of `RUNTIME_ERRORS`."""
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_SILENT)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _SILENT
    # idle threads that spin would take the cores of the other replicas
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=list(providers))
    if any(value.type == _BFLOAT16_TENSOR for value in (*session.get_inputs(), *session.get_outputs())):
        return _Bfloat16Session(session)
    return _PlainSession(session)


class _PlainSession:
    """A session asked without onnxruntime's Python layer, which costs a fifth of a small call.

    All that this layer does there is to check the names, which are the signature's, and to fall back to other providers
    in silence, which nobody wants.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._run = session._sess.run

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Session.run`."""
        answers: list[NDArray[np.generic]] = self._run(outputs, inputs, None)
        return answers

    def bind(self, inputs: Arrays, outputs: Arrays, texts: Sequence[str]) -> Callable[[], Sequence[Array]]:
        """See `Session.bind`."""
        return _Bound(self._session, inputs, outputs, texts).run

    def get_providers(self) -> list[str]:
        """See `Session.get_providers`."""
        return list(self._session.get_providers())


class _Bound:
    """A session tied to arrays. A call costs 2.0 µs where `run` costs 4.5: no value is made, and no options."""

    def __init__(
        self, session: onnxruntime.InferenceSession, inputs: Arrays, outputs: Arrays, texts: Sequence[str]
    ) -> None:
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name in texts:
            binding.bind_output(name)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._binding, self._memory, self._texts = binding._iobinding, (inputs, outputs), range(len(texts))
        self._session, self._options = session, onnxruntime.RunOptions()
        self._run = session._sess.run_with_iobinding

    def run(self) -> Sequence[Array]:
        """Read the inputs, write the outputs; the texts."""
        self._run(self._binding, self._options)
        if not self._texts:
            return ()
        values = self._binding.get_outputs()
        return [values[at].numpy() for at in self._texts]


class _Bfloat16Session:
    """A session with inputs or outputs of bfloat16, which onnxruntime takes and gives as its own values only."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._narrow = frozenset(value.name for value in session.get_inputs() if value.type == _BFLOAT16_TENSOR)

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Session.run`."""
        feeds = {name: self._value(name, column) for name, column in inputs.items()}
        return [_column(value) for value in self._session.run_with_ort_values(outputs, feeds)]

    def bind(self, inputs: Arrays, outputs: Arrays, texts: Sequence[str]) -> Callable[[], Sequence[Array]]:
        """See `Session.bind`. Raises `ValueError`: these values are no arrays."""
        raise ValueError("bfloat16 is not bound to memory")

    def get_providers(self) -> list[str]:
        """See `Session.get_providers`."""
        return list(self._session.get_providers())

    def _value(self, name: str, column: NDArray[np.generic]) -> object:
        if name in self._narrow:
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(narrowed(column), _BFLOAT16)
        return onnxruntime.OrtValue.ortvalue_from_numpy(column)


def _column(value: onnxruntime.OrtValue) -> NDArray[np.generic]:
    if value.data_type() != _BFLOAT16_TENSOR:
        return cast("NDArray[np.generic]", value.numpy())
    # Copied, because the memory goes with the value.
    copied = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return widened(np.frombuffer(copied, np.uint16)).reshape(value.shape())


def operator_schemas() -> "Iterator[onnx.defs.OpSchema]":
    """Every operator onnxruntime has registered, each with the opset that brought it."""
    yield from binding.get_all_operator_schema()
