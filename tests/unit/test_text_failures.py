"""What a library raises becomes the error that a client gets."""

from __future__ import annotations

import pytest

from transports.errors import ContextLengthExceeded
from workers.generation.failures import as_error, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[metal::malloc] Attempting to allocate 99 bytes which is greater than the maximum"),
        RuntimeError("[malloc_or_wait] Unable to allocate 99 bytes."),
        RuntimeError("cudaMallocAsync(&data, size) failed: out of memory"),
        RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory (0000008)"),
    ],
)
def test_want_of_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert as_error(error).code == "out_of_memory"


def test_anything_else_is_the_models_failure() -> None:
    error = as_error(ValueError("shapes (3, 4) and (5, 6) " * 100))

    assert error.code == "worker_error"
    assert error.message.startswith("the model failed on this request: ValueError: shapes (3, 4)")
    assert len(error.message) < 300


def test_a_client_learns_neither_addresses_nor_folders() -> None:
    said = "cannot read <_io.BytesIO object at 0x7f12ab34cd56> in /home/ann/.venv/lib/x.py: 3/4 of a/b"

    assert as_error(ValueError(said)).message.endswith(
        "ValueError: cannot read <_io.BytesIO object at 0x...> in x.py: 3/4 of a/b"
    )


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = ContextLengthExceeded("messages: too long")

    assert as_error(error) is error
