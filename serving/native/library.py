"""Loads the library and names its functions. What is not exactly the file that was built is not loaded.

Through ctypes, with the interpreter's lock held but for long work: a call takes 0.3 µs, and no thread sees it halfway.
"""

import ctypes
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.native.building import is_right
from serving.native.place import VARIABLE, file_name, folders, is_off

VERSION: Final = 1
_POINTER, _TEXT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
_INT, _LONG = ctypes.c_int32, ctypes.c_int64
_AT: Final = (_POINTER, _INT)  # a server and the number of a model
_NAME: Final = (_TEXT, _SIZE)
# See the functions in `source/native.cpp`.
_FUNCTIONS: Final[dict[str, tuple[tuple[type, ...], type | None]]] = {
    "version": ((), _INT),
    "open": (_NAME, _POINTER),
    "close": ((_POINTER,), None),
    "out": ((_POINTER,), _POINTER),
    "model": ((_POINTER, _LONG, _SIZE), _INT),
    "input": ((*_AT, *_NAME, *_NAME, _INT, _POINTER, _SIZE, _POINTER), _INT),
    "range": ((*_AT, _INT, ctypes.c_double, ctypes.c_double), _INT),
    "key": ((*_AT, *_NAME, _INT, _INT), _INT),
    "output": ((*_AT, _INT, _SIZE, _POINTER, *_NAME, *_NAME), _INT),
    "text": ((*_AT, _INT, *_NAME), _INT),
    "piece": ((*_AT, _INT, *_NAME, _INT, _SIZE, _INT), _INT),
    "choice": ((*_AT, _INT, *_NAME), _INT),
    "frame": ((*_AT, _INT, *_NAME), _INT),
    "route": ((_POINTER, *_NAME, _INT, _INT), _INT),
    "forget": (_AT, _INT),
    "ask": ((_POINTER, *_NAME), _LONG),
    "tell": ((_POINTER,), _LONG),
    "take": ((*_AT, _POINTER), _LONG),
    "record": ((*_NAME, _POINTER, _SIZE, _POINTER), _INT),
    "forest": ((_POINTER, _POINTER, _LONG, _POINTER, _POINTER), _INT),
}


class NotThere(Exception):
    """There is no library for this environment; the message says why."""


class Library:
    """The functions, by their names without the prefix."""

    def __init__(self, path: Path) -> None:
        """Raises `NotThere`."""
        self.path = path
        try:
            self._loaded = ctypes.PyDLL(str(path))
            for name in _FUNCTIONS:
                self.function(name)
            version = self.function("version")()
        except (OSError, AttributeError) as error:
            raise NotThere(f"{path} cannot be loaded: {error}") from error
        if version != VERSION:
            raise NotThere(f"{path} is of version {version}, and not {VERSION}")

    def function(self, name: str) -> Callable[..., int]:
        """One of `_FUNCTIONS`, with its types."""
        return self._typed(self._loaded, name)

    def function_without_lock(self, name: str) -> Callable[..., int]:
        """The same for one that takes long and keeps nothing: other threads go on meanwhile."""
        return self._typed(ctypes.CDLL(str(self.path)), name)

    def _typed(self, loaded: ctypes.CDLL, name: str) -> Callable[..., int]:
        function: ctypes._NamedFuncPointer = getattr(loaded, f"portside_{name}")
        arguments, function.restype = _FUNCTIONS[name]
        function.argtypes = list(arguments)
        return function


class Server:
    """What the library keeps for one model server, for as long as anybody has this."""

    def __init__(self, library: Library, token: bytes) -> None:
        """`token` is the whole value that an Authorization header must have; empty: none is asked for."""
        self.library, self.at = library, library.function("open")(token, len(token))
        if not self.at:
            raise MemoryError("there is none for the compiled way")
        weakref.finalize(self, library.function("close"), self.at)


def open_library() -> Library:
    """The library of this environment. Raises `NotThere`."""
    if is_off():
        raise NotThere(f"{VARIABLE} says so")
    try:
        name = file_name()
    except OSError as error:
        raise NotThere(f"its sources cannot be read: {error}") from error
    for folder in folders():
        if is_right(folder / name):
            return Library(folder / name)
    raise NotThere("it was not built: `python -m serving.native` does, where there is a C++ compiler")
