"""What a command's libraries log does not get between its answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from plugins.cli import session


@pytest.fixture
def log() -> Iterator[structlog.typing.FilteringBoundLogger]:
    """A logger as our modules have; all is as it was afterwards."""
    yield structlog.get_logger()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_events_go_to_stderr_and_only_errors(
    log: structlog.typing.FilteringBoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        log.warning("decoder_died")
        log.error("kernel_message_malformed")

    session.run(main())

    out, err = capsys.readouterr()
    assert out == ""
    assert "kernel_message_malformed" in err
    assert "decoder_died" not in err
