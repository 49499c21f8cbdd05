"""Equal requests have equal fingerprints, and whatever a worker would notice changes them."""

from __future__ import annotations

from plugins.fingerprint import fingerprint
from transports.envelope import MAX_FINGERPRINT, Message
from transports.messages import (
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    FramePixels,
    Image,
    Sampling,
    SharedPixels,
)


def of(body: Message, model: str = "m", task: str = "chat") -> str:
    return fingerprint(model, task, body)


def chat(text: str = "hi", digest: bytes = b"d" * 32, pixels: FramePixels | SharedPixels | None = None):
    images = () if pixels is None else (Image(width=2, height=2, digest=digest, pixels=pixels),)
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), images=images)


def test_the_same_request_has_the_same_fingerprint() -> None:
    assert of(chat()) == of(chat())
    assert 0 < len(of(chat())) <= MAX_FINGERPRINT


def test_whatever_a_worker_would_notice_changes_it() -> None:
    plain = chat()
    others = [
        of(chat("ho")),
        of(plain, model="n"),
        of(plain, task="completion"),
        of(ChatRequest(messages=plain.messages, sampling=Sampling(seed=1))),
        of(CompletionRequest(prompt="hi")),
        of(chat(pixels=FramePixels(buffer=0))),
        of(chat(digest=b"e" * 32, pixels=FramePixels(buffer=0))),
    ]

    assert len({of(plain), *others}) == len(others) + 1


def test_pictures_count_by_what_they_show_and_not_by_where_they_are() -> None:
    ways = [FramePixels(buffer=0), FramePixels(buffer=3), SharedPixels(name="a"), SharedPixels(name="b")]

    assert len({of(chat(pixels=pixels)) for pixels in ways}) == 1
