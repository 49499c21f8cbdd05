"""How large a picture a model sees: by memory, by setting, by detail."""

from __future__ import annotations

import pytest

from plugins.media.decode_pool import usual_decoders
from plugins.media.picture_size import GIB, max_side, max_side_by_memory


@pytest.mark.parametrize(
    ("memory_gb", "side"),
    [
        (0.5, 512),
        (8, 512),
        (16, 512),
        (24, 512),
        (31.2, 768),
        (32, 768),
        (48, 768),
        (62.7, 1024),
        (512, 1024),
    ],
)
def test_memory_decides_where_no_setting_does(memory_gb: float, side: int) -> None:
    """A machine of 32 GB reports a little less."""
    assert max_side_by_memory(int(memory_gb * GIB)) == side


@pytest.mark.parametrize(
    ("setting", "low"), [(1, 1), (256, 128), (512, 256), (768, 384), (1024, 512), (4096, 512)]
)
def test_low_detail_is_half_of_the_limit_and_never_much(setting: int, low: int) -> None:
    assert max_side("high", setting) == max_side("auto", setting) == setting
    assert max_side("low", setting) == low


def test_without_a_setting_the_side_is_a_tier() -> None:
    assert max_side("high", 0) in (512, 768, 1024)


@pytest.mark.parametrize(("num_processors", "expected"), [(1, 1), (2, 1), (4, 2), (8, 4), (128, 4)])
def test_half_of_the_processors_decode(num_processors: int, expected: int) -> None:
    assert usual_decoders(num_processors) == expected
