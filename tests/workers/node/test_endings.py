"""Why a process ended, in words."""

import pytest

from workers.node.endings import Ending, describe


def test_a_refusal_is_told_in_the_model_servers_words() -> None:
    lines = 'loading\n{"code": "opset_too_new", "message": "opset 99 is too new", "hint": null}\nbye'
    assert describe(65, lines, None) == Ending("model_refused", "opset 99 is too new")


def test_a_refusal_without_words_shows_the_log() -> None:
    assert describe(65, "[]\nhm", None) == Ending("model_refused", "the model was refused\n[]\nhm")


def test_another_runtime_than_the_pinned_one_is_no_fault_of_the_model() -> None:
    line = '{"code": "runtime_missing", "message": "here is 1.30", "hint": "Pin another."}'
    assert describe(65, line, 256) == Ending("runtime_missing", "here is 1.30 (Pin another.)")


def test_a_refusal_for_want_of_memory_is_no_fault_of_the_model() -> None:
    line = '{"code": "memory_limit_exceeded", "message": "it needs more memory", "hint": "Raise the limit."}'
    assert describe(65, line, 256) == Ending("out_of_memory", "it needs more memory (Raise the limit.)")


@pytest.mark.parametrize("words", ["MemoryError", "std::bad_alloc", "java.lang.OutOfMemoryError: Java heap space"])
def test_running_out_of_memory_is_recognised_and_says_what_to_do(words: str) -> None:
    ending = describe(1, words, 256)
    assert ending.reason == "out_of_memory"
    assert str(ending.message).startswith(
        "out of memory (its limit is 256 MiB), give the service more; ended with exit code 1"
    )


def test_a_kill_names_the_signal() -> None:
    assert describe(-9, "", None) == Ending("killed", "ended by signal 9 (SIGKILL)")


def test_a_crash_names_its_signal_or_code() -> None:
    assert describe(-11, "", None) == Ending("exited", "ended by signal 11 (SIGSEGV)")
    assert describe(-99, "", None) == Ending("exited", "ended by signal 99")
    assert describe(0, "x", None) == Ending("exited", "ended with exit code 0\nx")
