"""Pictures as a message to the kernel takes them."""

from __future__ import annotations

from collections.abc import Sequence

from plugins.client import KernelClient
from plugins.media.picture import Picture
from transports.errors import KernelUnavailable
from transports.pixels import Packed, pack


def pack_for(client: KernelClient, pictures: Sequence[Picture]) -> Packed:
    """Name and gather them, within the limit of the kernel that *client* is connected to.

    Raises:
        KernelUnavailable: It is connected to none.
        InsufficientStorage: A picture is too large for a message.
    """
    if client.welcome is None:
        raise KernelUnavailable("not connected to the kernel")
    return pack(pictures, client.welcome.max_frame_bytes)
