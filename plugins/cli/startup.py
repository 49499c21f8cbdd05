"""Follows a kernel from its start until it is ready, and says what went wrong if it will not be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from plugins.cli.progress import ProgressView
from plugins.client import KernelClient
from transports.errors import PluginError
from transports.reports import Admin, DoneReply, StatusReply

# How often the kernel is asked, seconds.
POLL_S = 0.05


async def wait_until_ready(client: KernelClient, models: Sequence[str], view: ProgressView) -> StatusReply:
    """Wait for the frontends and *models*. A frontend that is not HTTP may fail alone.

    Raises:
        MlxdError: The first of them that failed.
    """
    tasks = [asyncio.ensure_future(_frontends(client))]
    tasks += [asyncio.ensure_future(_load(client, model, view)) for model in models]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return await _until_ready(client)


async def _load(client: KernelClient, model: str, view: ProgressView) -> None:
    await client.admin("load", Admin(model=model), DoneReply, lambda progress: view.update(model, progress))
    view.finish(model)


async def _frontends(client: KernelClient) -> None:
    """Wait until each frontend listens or cannot.

    Raises:
        PluginError: HTTP cannot, or none can.
    """
    while True:
        frontends = [one for one in (await client.status()).frontends if one.supervised]
        failed = [one for one in frontends if one.error and one.state != "ready"]
        is_hopeless = len(failed) == len(frontends)
        for frontend in failed:
            if is_hopeless or frontend.kind == "http":
                raise PluginError(f"{frontend.name}: {frontend.error}")
        if all(one in failed or one.state == "ready" for one in frontends):
            return
        await asyncio.sleep(POLL_S)


async def _until_ready(client: KernelClient) -> StatusReply:
    while not (status := await client.status()).is_ready:  # noqa: ASYNC110 -- no message tells it.
        await asyncio.sleep(POLL_S)
    return status
