"""What a process wrote last tells why it ended, and where."""

from __future__ import annotations

from kernel.last_words import MAX_CALLS, MAX_LINES, LastWords, reason_in

CALLS = [f'  File "/envs/x/lib/layer.py", line {n} in call' for n in range(60)]
# As Python 3.11 writes it.
DUMP = [
    "Fatal Python error: Aborted",
    "",
    "Current thread 0x00007f7f8b7fe6c0 (most recent call first):",
    *CALLS,
    "",
    "Extension modules: numpy._core._multiarray_umath, zmq.backend.cython._zmq (total: 2)",
]


def words(*lines: str) -> tuple[str, ...]:
    last = LastWords()
    for line in lines:
        last.add(line)
    return last.lines()


def test_the_last_lines_are_kept_and_their_last_is_the_reason() -> None:
    kept = words(*(f"line {n}" for n in range(99)), "", "RuntimeError: it broke")

    assert len(kept) == MAX_LINES
    assert kept[-2:] == ("line 98", "RuntimeError: it broke")
    assert reason_in(kept) == "RuntimeError: it broke"


def test_of_a_fatal_error_the_innermost_calls_are_kept() -> None:
    kept = words(*DUMP)

    assert kept == (DUMP[0], DUMP[2], *CALLS[:MAX_CALLS])


def test_the_librarys_own_words_before_it_are_the_reason() -> None:
    """Where the process was is no reason, and the names of all modules even less."""
    kept = words("loading", "libc++abi: terminating due to uncaught exception: Insufficient Memory", *DUMP)

    assert reason_in(kept) == "libc++abi: terminating due to uncaught exception: Insufficient Memory"
    assert reason_in(words(*DUMP)) == ""


def test_a_traceback_is_no_fatal_error() -> None:
    traceback = ["Traceback (most recent call last):", *CALLS, "ValueError: no"]

    assert words(*traceback) == tuple(traceback[-MAX_LINES:])
