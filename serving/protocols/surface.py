"""What a protocol asks of the server whose models it offers; nothing heavy, so that a server may know it at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from serving.problems import Problem
from serving.protocols.tensors import TensorModel
from serving.score import Identity


class Surface(Protocol):
    """The models of one server by name and version."""

    @property
    def is_ready(self) -> bool:
        """Whether predictions are answered."""
        ...

    @property
    def version(self) -> str:
        """The server's own version."""
        ...

    def model(self, name: str, version: str) -> TensorModel:
        """The model of this name; an empty version is the default one. Raises `Problem` 404 or 503."""
        ...

    def index(self) -> Sequence[Mapping[str, object]]:
        """An entry of the repository's index for each version there is."""
        ...


class ReplicaSurface:
    """The one model of a replica, or the parts of one, which are its versions."""

    def __init__(
        self,
        identity: Identity,
        found: Callable[[str], TensorModel | None],
        keys: Callable[[], Sequence[str]],
        is_ready: Callable[[], bool],
        version: str,
    ) -> None:
        """`found` gives a part's model; that of the empty key answers where none is named, `keys` are the others'."""
        self._identity, self._found, self._keys, self._is_ready = identity, found, keys, is_ready
        self.version = version

    @property
    def is_ready(self) -> bool:
        """Whether predictions are answered."""
        return self._is_ready()

    def part_of(self, version: str) -> str:
        """The key of the model that a version names."""
        return "" if version == self._identity.version else version

    def model(self, name: str, version: str) -> TensorModel:
        """The model of this name. Raises `Problem` 404 or 503."""
        if name != self._identity.name:
            raise Problem(404, "not_found", f"Request for unknown model: '{name[:200]}' is not found")
        key = self.part_of(version)
        found = self._found(key)
        if found is not None:
            return found
        if not key or (self._found("") is None and not version.isdecimal()):
            raise Problem(503, "model_loading", "the model is still being loaded", headers={"retry-after": "1"})
        known = ", ".join([self._identity.version, *self._keys()])
        detail = f"Request for unknown model: '{name}' version {version[:200]} is not found"
        raise Problem(404, "not_found", detail, hint=f"its versions: {known}")

    def index(self) -> Sequence[Mapping[str, object]]:
        """An entry of the repository's index for each version."""
        state, reason = ("READY", "") if self.is_ready else ("LOADING", "")
        versions = [self._identity.version, *self._keys()]
        return [{"name": self._identity.name, "version": each, "state": state, "reason": reason} for each in versions]
