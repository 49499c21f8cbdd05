"""The media intake of a frontend: sources in, decoded pictures out, within the limits of a request.

Decodes nothing itself: that is done in processes of its own (`decoder.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from plugins.media.data_url import from_data_url
from plugins.media.decode_pool import DecodePool, Result
from plugins.media.picture import Picture, Source
from plugins.media.picture_size import max_side
from transports.errors import InvalidImage, RequestError, RequestTooLarge
from transports.settings import MediaSettings

if TYPE_CHECKING:
    from plugins.media.fetch import Fetcher

# Of one request at once.
MAX_FETCHES = 4


class MediaIntake:
    """Turns the pictures and documents of requests into pixels. Belongs to the event loop that built it.

    Args:
        settings: The section [media].
        shared_dir: The frontend's own folder (`transports.pixels.shared_folder`); "" for none.
    """

    def __init__(self, settings: MediaSettings, shared_dir: str) -> None:
        self._settings = settings
        self._pool = DecodePool(settings, shared_dir)

    @property
    def decoder_pids(self) -> list[int]:
        """The decode processes that run."""
        return self._pool.pids

    async def close(self) -> None:
        """End the decode processes; what they work on fails."""
        if "_fetcher" in vars(self):
            self._fetcher.close()
        await self._pool.close()

    async def pictures(self, sources: Sequence[Source]) -> list[list[Picture]]:
        """Decode *sources*: for each one picture, or one for each page of a document.

        All or nothing: when one fails, no file of the others is left.

        Raises:
            RequestError: One cannot be used, or they are too many; `param` is its path.
            CapacityError: Too many wait already.
        """
        budget = _Budget(self._settings)
        if len(sources) > self._settings.max_images:
            raise budget.too_many(len(sources), sources[self._settings.max_images].path)
        fetches = asyncio.Semaphore(MAX_FETCHES)
        tasks: list[asyncio.Task[list[Picture]]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._decode(source, budget, fetches, len(sources)))
                    for source in sources
                ]
        except BaseException as e:
            for task in tasks:
                if not task.cancelled() and task.exception() is None:
                    self._pool.remove(task.result())
            if isinstance(e, BaseExceptionGroup):
                raise e.exceptions[0] from None
            raise
        return [task.result() for task in tasks]

    def discard(self, pictures: Iterable[Picture]) -> None:
        """Remove the files of pictures that will not be sent."""
        self._pool.remove(pictures)

    @cached_property
    def _fetcher(self) -> Fetcher:
        # Who sends only files need not wait for aiohttp.
        from plugins.media.fetch import Fetcher  # noqa: PLC0415

        return Fetcher(self._settings)

    async def _decode(
        self, source: Source, budget: _Budget, fetches: asyncio.Semaphore, num_sources: int
    ) -> list[Picture]:
        settings = self._settings
        encoded = await self._encoded(source, fetches)
        try:
            result = await self._pool.decode(
                encoded,
                source.path,
                side=max_side(source.detail, settings.max_image_side),
                pages=source.pages,
                max_pages=min(settings.max_pdf_pages, settings.max_images - num_sources + 1),
            )
        except RequestError:
            if _is_remote(source):
                # What is wrong with it would say what answers at that address.
                raise self._fetcher.refusal(source.path) from None
            raise
        try:
            budget.spend(result, source.path)
        except InvalidImage:
            self._pool.remove(result.pictures)
            raise
        return result.pictures

    async def _encoded(self, source: Source, fetches: asyncio.Semaphore) -> bytes | memoryview:
        max_bytes = self._settings.max_file_bytes
        content = source.content
        if isinstance(content, (bytes, memoryview)):
            if len(content) > max_bytes:
                raise RequestTooLarge(
                    f"{source.path}: expected a file of at most {max_bytes} bytes (media.max_file_bytes), "
                    f"got {len(content)}",
                    param=source.path,
                )
            return content
        if isinstance(content, str) and _is_remote(source):
            async with fetches:
                return await self._fetcher.fetch(content, source.path)
        # Not on the loop: 20 MiB take 5 ms.
        return await asyncio.to_thread(from_data_url, content, source.path, max_bytes)


def _is_remote(source: Source) -> bool:
    return isinstance(source.content, str) and source.content[:5].lower() != "data:"


class _Budget:
    """What a request may still use of pictures and pixels."""

    def __init__(self, settings: MediaSettings) -> None:
        self._settings = settings
        self._num_images = 0
        self._num_pixels = 0

    def spend(self, result: Result, path: str) -> None:
        """Count a result.

        Raises:
            InvalidImage: With it the request is over a limit.
        """
        self._num_images += len(result.pictures)
        self._num_pixels += result.num_pixels
        if self._num_images > self._settings.max_images:
            raise self.too_many(self._num_images, path)
        if self._num_pixels > self._settings.max_total_pixels:
            raise InvalidImage(
                f"{path}: expected at most {self._settings.max_total_pixels} pixels in a request "
                f"(media.max_total_pixels), got {self._num_pixels} up to this picture",
                param=path,
            )

    def too_many(self, num_images: int, path: str) -> InvalidImage:
        """The error of the first picture over the limit."""
        return InvalidImage(
            f"{path}: expected at most {self._settings.max_images} pictures in a request, pages of documents "
            f"included (media.max_images), got {num_images}",
            param=path,
        )
