"""A request's body to a row: everything is found here that can be wrong before its pictures are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transports.envelope import Message
from transports.errors import RequestError, TaskNotSupported
from transports.frames import Buffer
from transports.messages import ChatMessage, ChatRequest, CompletionRequest, Generate, ImagePart
from workers.generation.requests import RequestReader
from workers.generation.too_long import prompt_too_long
from workers.vision.pictures import Picture
from workers.vision.prompts import VisionPrompts
from workers.vision.rows import VisionRow


@dataclass(frozen=True, slots=True)
class VisionReader:
    """What a model takes; makes rows of requests."""

    reader: RequestReader
    prompts: VisionPrompts

    def row(self, request_id: str, body: Message, buffers: Sequence[Buffer], now: float) -> VisionRow:
        """Check *body* and turn its text into tokens.

        Args:
            buffers: The pixels of the body's images.

        Raises:
            RequestError: It cannot be served, whoever asks.
        """
        if isinstance(body, ChatRequest):
            _check_images(body)
            terms = self.reader.terms(body)
            pieces = self.prompts.pieces(*self.reader.told(body, terms))
            text = [token for piece in pieces if isinstance(piece, list) for token in piece]
            pictures = [
                Picture(image.digest, image.width, image.height, pixels)
                for image, pixels in zip(body.images, buffers, strict=True)
            ]
            return self.reader.make_row(
                VisionRow,
                request_id,
                body,
                text,
                now,
                terms,
                request=body,
                pieces=pieces,
                pictures=pictures,
            )
        if isinstance(body, CompletionRequest):
            text = self.reader.completion(body)
            echo = self.reader.echo(body, text)
            return self.reader.make_row(
                VisionRow, request_id, body, text, now, echo=echo, request=body, pieces=[text], pictures=()
            )
        raise TaskNotSupported(f"expected a chat or completion request, got {type(body).__name__}")

    def check_length(self, row: VisionRow) -> None:
        """Look at the length of a prompt before its last pictures are seen.

        Raises:
            ContextLengthExceeded: It is too long whatever they are.
        """
        if row.num_known >= self.reader.context_length:
            seen = f"{row.num_known} or more with pictures"
            raise prompt_too_long("messages", self.reader.context_length, seen)

    def complete(self, row: VisionRow) -> None:
        """Put the pictures, which are all seen, into the prompt.

        Raises:
            ContextLengthExceeded: Prompt and answer do not fit.
        """
        row.complete()
        row.max_tokens = self.reader.max_tokens(row.request, len(row.prompt))


def unsuitable(request: Generate, picture: int, shown: Picture) -> RequestError:
    """The error for a picture that the model's processor refuses."""
    path = next((path for path, image in _image_parts(request) if image == picture), "messages")
    # Not what the library says: it may name its own inside.
    return RequestError(
        f"{path}: this model takes no picture of {shown.width} x {shown.height} pixels", param=path
    )


def _check_images(body: ChatRequest) -> None:
    for path, image in _image_parts(body):
        if image >= len(body.images):
            raise RequestError(f"{path}: expected one of {len(body.images)} images, got {image}", param=path)


def _image_parts(body: Generate) -> Iterator[tuple[str, int]]:
    """Where each image stands, and which it is."""
    messages: Sequence[ChatMessage] = body.messages if isinstance(body, ChatRequest) else ()
    for at, message in enumerate(messages):
        for place, part in enumerate(() if isinstance(message.content, str) else message.content):
            if isinstance(part, ImagePart):
                yield f"messages[{at}].content[{place}]", part.image
