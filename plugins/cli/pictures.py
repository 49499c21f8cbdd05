"""From what a person named to the pictures of a request. What decodes and fetches is elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from plugins.cli.attachments import read_source
from plugins.cli.picture_messages import about
from plugins.client import KernelClient, Submission
from plugins.image_models import check_takes_images
from plugins.media.picture import Picture, Source
from plugins.packing import pack_for
from plugins.submit_terms import SubmitTerms
from plugins.thinking_models import check_thinks
from transports.config import resolve
from transports.messages import ChatRequest
from transports.settings import MediaSettings

if TYPE_CHECKING:
    from plugins.media.intake import MediaIntake


@dataclass(frozen=True, slots=True)
class Named:
    """Pictures and documents of a command line; false when there are none."""

    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    # Of the documents.
    pages: str = ""

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Files and URLs, in the order in which the model sees them."""
        return (*self.images, *self.documents)

    async def sources(self, max_bytes: int) -> list[Source]:
        """Files and URLs for the intake.

        Raises:
            RequestError: A file cannot be read, or has more than *max_bytes*.
        """
        pages = [*[""] * len(self.images), *[self.pages] * len(self.documents)]
        return [
            await asyncio.to_thread(read_source, name, max_bytes, its_pages)
            for name, its_pages in zip(self.names, pages, strict=True)
        ]


@asynccontextmanager
async def open_intake(
    client: KernelClient, settings: MediaSettings, *, is_kept: bool = False
) -> AsyncIterator[MediaIntake]:
    """A media intake for the length of the block.

    Args:
        client: Where its pictures go.
        settings: The section [media].
        is_kept: The pictures are for more than one request: their pixels stay here.
    """
    # Imported here: what fetches URLs takes as long as the rest of a small command.
    from plugins.media.intake import MediaIntake  # noqa: PLC0415

    intake = MediaIntake(settings, "" if is_kept else client.shared_folder)
    try:
        yield intake
    finally:
        await intake.close()


@asynccontextmanager
async def submitted(
    client: KernelClient,
    model: str,
    request: ChatRequest,
    named: Named,
    terms: SubmitTerms,
) -> AsyncIterator[Submission]:
    """A request, its last message about what was *named*; sent for the length of the block.

    Raises:
        RequestError: The model does not think or takes no pictures, or one of them cannot be used.
    """
    pictures: list[Picture] = []
    await check_thinks(client, model, request)
    if named:
        await check_takes_images(client, model, named.names[0])
        settings = resolve().settings.media
        async with open_intake(client, settings) as intake:
            pictures = await take_in(intake, await named.sources(settings.max_file_bytes))
    question = about(request, len(pictures))
    async with submit(client, model, question, pictures, terms) as submission:
        yield submission


async def take_in(intake: MediaIntake, sources: Sequence[Source]) -> list[Picture]:
    """The pictures of files and URLs, and of each page of a document, in their order."""
    return [picture for pictures in await intake.pictures(sources) for picture in pictures]


def submit(
    client: KernelClient,
    model: str,
    request: ChatRequest,
    pictures: Sequence[Picture],
    terms: SubmitTerms,
) -> Submission:
    """Send a request with the pictures that its image parts count; from here on they are the submission's.

    Raises:
        InsufficientStorage: A picture is too large for a message; they are still the caller's.
    """
    packed = pack_for(client, pictures)
    body = msgspec.structs.replace(request, images=packed.images)
    return client.submit(task="chat", model=model, body=body, buffers=packed.buffers, **terms._asdict())
