"""How large a picture a model gets to see: by the machine's memory, a setting, and the request's detail."""

from __future__ import annotations

from plugins.media.picture import Detail

GIB = 1024**3
# Memory of the machine, bytes -> larger side, pixels. Systems report a little less than what is built in.
TIERS = ((60 * GIB, 1024), (30 * GIB, 768), (0, 512))
# A quarter of the pixels of `high`, but no more than OpenAI's low detail.
MAX_LOW_SIDE = 512


def max_side(detail: Detail, setting: int) -> int:
    """The largest side, pixels, of a picture that was sent with *detail*.

    Args:
        detail: all but "low" are the full size; nothing makes it larger.
        setting: `media.max_image_side`; 0 chooses by memory.
    """
    import psutil  # noqa: PLC0415  # 20 ms that no start should wait for.

    full = setting or max_side_by_memory(psutil.virtual_memory().total)
    return min(-(-full // 2), MAX_LOW_SIDE) if detail == "low" else full


def max_side_by_memory(memory_bytes: int) -> int:
    """The largest side on a machine with that much memory."""
    return next(side for least, side in TIERS if memory_bytes >= least)
