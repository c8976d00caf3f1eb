"""Why a replica's process ended, in a code that programs read and a sentence with the last lines of its log."""

import json
import signal
from dataclasses import dataclass

REFUSED = 65  # the model server's exit code for a model that it cannot serve: the file is at fault
# Where not the file is at fault: another limit can help, another runtime, or another machine.
OTHER_FAULTS = {
    "memory_limit_exceeded": "out_of_memory",
    "runtime_missing": "runtime_missing",
    "gpu_missing": "gpu_missing",
}
# How the parts of a model server say that an allocation was refused (RLIMIT_DATA, -Xmx).
MEMORY_WORDS = ("MemoryError", "bad_alloc", "OutOfMemoryError", "insufficient memory", "Cannot allocate memory")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: a reason code and a message for people."""

    reason: str
    message: str | None


def describe(exit_code: int, last_lines: str, memory_mb: int | None, what: str = "service") -> Ending:
    """The ending of a process that was not asked to end; `exit_code` is negative for a signal, `what` it worked for."""
    if exit_code == REFUSED:
        return _refusal(last_lines)
    if exit_code == -signal.SIGKILL:
        return Ending("killed", with_log("ended by signal 9 (SIGKILL)", last_lines))
    how = f"ended by {_signal(-exit_code)}" if exit_code < 0 else f"ended with exit code {exit_code}"
    if any(word in last_lines for word in MEMORY_WORDS):
        limit = f" (its limit is {memory_mb} MiB)" if memory_mb else ""
        return Ending("out_of_memory", with_log(f"out of memory{limit}, give the {what} more; {how}", last_lines))
    return Ending("exited", with_log(how, last_lines))


def of_memory(is_own: bool, memory_mb: int | None) -> str:
    """Why the kernel has ended a script for want of memory: of its own (`is_own`), or of the whole machine."""
    if is_own and memory_mb is not None:
        return f"the script used more than its memory of {memory_mb} MiB, and was ended"
    its = "has no limit of its own (resources.memory)" if memory_mb is None else f"may have {memory_mb} MiB"
    return f"the memory of the machine, or of the platform's cgroup, ran out; the script, which {its}, was ended first"


def with_log(sentence: str, last_lines: str) -> str:
    """A sentence, and below it the last lines of the log if there are any."""
    return f"{sentence}\n{last_lines}" if last_lines else sentence


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _refusal(last_lines: str) -> Ending:
    """What the model server says about the model: the last line that is its {code, message, hint}."""
    for line in reversed(last_lines.splitlines()):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and "message" in document:
            reason = OTHER_FAULTS.get(document.get("code", ""), "model_refused")
            hint = f" ({document['hint']})" if document.get("hint") else ""
            return Ending(reason, _storable(f"{document['message']}{hint}"))
    return Ending("model_refused", with_log("the model was refused", last_lines))


def _storable(text: str) -> str:
    """Without what JSON may say and PostgreSQL does not keep: NUL, and halves of characters."""
    return text.replace("\0", " ").encode(errors="replace").decode()
