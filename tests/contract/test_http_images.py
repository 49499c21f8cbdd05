"""Pictures and documents in chats: what a worker gets of them, and what a client is told of wrong ones."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from http_harness import Door, FakeClient, Reply, open_door, say, say_nothing
from picture_host import file, picture_host
from pictures import RGB, data_url, encoded, pdf, plain, png
from PIL import Image

from transports.errors import KernelUnavailable
from transports.messages import ChatRequest, FramePixels, ImagePart, SharedPixels, TextPart
from transports.pixels import shared_folder
from transports.reports import ModelInfo
from transports.settings import MediaSettings

MODEL = "sees"
RED, BLUE, GREEN = (plain(color, (8, 6)) for color in ("red", "blue", "green"))
PICTURE = data_url(png(RED))
# "messages[0].content[1].image_url" in the requests of `ask`.
PATH = "messages[0].content[1].image_url"


def seeing() -> FakeClient:
    client = FakeClient()
    client.more_models = (
        ModelInfo(name=MODEL, kind="vision", state="ready", source="folder", modalities=("text", "image")),
    )
    return client


def door_that_sees(**media: Any) -> AbstractAsyncContextManager[Door]:
    return open_door(seeing(), media=MediaSettings(**media))


def image_part(url: str, **fields: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def words(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def file_part(data: str, **fields: object) -> dict[str, object]:
    return {"type": "file", "file": {"file_data": data, "filename": "report.pdf", **fields}}


async def ask(door: Door, *parts: object, **fields: object) -> Reply:
    """A chat of one turn with these parts after some words."""
    turn = {"role": "user", "content": [words("Look:"), *parts]}
    return await door.post("/v1/chat/completions", {"model": MODEL, "messages": [turn], **fields})


def pixels_of(door: Door) -> list[tuple[tuple[int, int], bytes]]:
    """Size and pixels of each image of the last submission."""
    _, submitted = door.client.submitted[-1]
    body: ChatRequest = submitted["body"]
    found = []
    for image in body.images:
        assert isinstance(image.pixels, FramePixels)
        pixels = bytes(submitted["buffers"][image.pixels.buffer])
        size = image.width.to_bytes(4, "little") + image.height.to_bytes(4, "little")
        assert image.digest == hashlib.sha256(b"RGB" + size + pixels).digest()
        found.append(((image.width, image.height), pixels))
    return found


def rgb(image: Image.Image) -> tuple[tuple[int, int], bytes]:
    return image.size, image.tobytes()


@pytest.mark.parametrize(
    "part",
    [
        image_part(PICTURE),
        image_part(PICTURE, detail="high"),
        image_part(PICTURE, detail=None),
        {"type": "image_url", "image_url": PICTURE},
        {"type": "input_image", "image_url": PICTURE, "detail": "low"},
        {"type": "input_image", "image_url": {"url": PICTURE}},
        image_part(PICTURE.replace("data:image/png", "DATA:image/jpeg")),
        image_part(PICTURE.replace(";base64", ";name=red.png;base64")),
    ],
)
async def test_every_way_to_send_a_picture_gives_its_pixels(part: dict[str, object]) -> None:
    async with door_that_sees() as door:
        reply = await ask(door, part)
        body = door.client.body

        assert reply.status == 200
        assert pixels_of(door) == [rgb(RED)]
    assert body.messages[0].content == (TextPart(text="Look:"), ImagePart(image=0))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_answer_to_a_picture_is_like_any_other(stream: bool) -> None:
    async with door_that_sees() as door:
        door.client.script = say("It is", " red.")
        reply = await ask(door, image_part(PICTURE), stream=stream)

    text = (
        "".join(e["choices"][0]["delta"].get("content", "") for e in reply.events[:-1])
        if stream
        else reply.json["choices"][0]["message"]["content"]
    )
    assert text == "It is red."


@pytest.mark.parametrize(
    "part",
    [
        file_part(data_url(pdf([RED, BLUE, GREEN]), "application/pdf")),
        file_part(base64.b64encode(pdf([RED, BLUE, GREEN])).decode()),
        {"type": "input_file", "file_data": data_url(pdf([RED, BLUE, GREEN]), "application/pdf")},
    ],
)
async def test_each_page_of_a_document_is_an_image(part: dict[str, object]) -> None:
    async with door_that_sees() as door:
        reply = await ask(door, part, words("and"), image_part(PICTURE))
        content = door.client.body.messages[0].content
        seen = pixels_of(door)

    assert reply.status == 200
    assert content == (
        TextPart(text="Look:"),
        *(ImagePart(image=i) for i in range(3)),
        TextPart(text="and"),
        ImagePart(image=3),
    )
    colors = [tuple(pixels[len(pixels) // 6 * 3 :][:3]) for _, pixels in seen]
    assert [_nearest(color) for color in colors] == ["red", "blue", "green", "red"]


def _nearest(color: tuple[int, ...]) -> str:
    def distance(name: str) -> int:
        return sum(abs(a - b) for a, b in zip(RGB[name], color, strict=True))

    return min(("red", "green", "blue", "white", "black"), key=distance)


async def test_pictures_of_all_turns_are_sent_in_their_order() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [image_part(PICTURE), words("a"), image_part(data_url(png(BLUE)))]},
        {"role": "assistant", "content": [words("Red, "), words("blue.")]},
        {"role": "tool", "content": [image_part(data_url(png(GREEN)))]},
        {"role": "user", "content": "And the first?"},
    ]
    async with door_that_sees() as door:
        reply = await door.post("/v1/chat/completions", {"model": MODEL, "messages": turns})
        body = door.client.body
        seen = pixels_of(door)

    assert reply.status == 200
    assert seen == [rgb(RED), rgb(BLUE), rgb(GREEN)]
    assert [message.content for message in body.messages] == [
        "Be brief.",
        (ImagePart(image=0), TextPart(text="a"), ImagePart(image=1)),
        "Red, blue.",
        (ImagePart(image=2),),
        "And the first?",
    ]


async def test_the_same_picture_twice_travels_once() -> None:
    async with door_that_sees() as door:
        await ask(door, image_part(PICTURE), image_part(PICTURE))
        _, submitted = door.client.submitted[-1]

        assert pixels_of(door) == [rgb(RED), rgb(RED)]
    assert len(submitted["buffers"]) == 1


async def test_detail_decides_the_size() -> None:
    large = data_url(png(plain("red", (1500, 500))))
    async with door_that_sees(max_image_side=600) as door:
        sides = {}
        for detail in ("low", "auto", "high", "original"):
            assert (await ask(door, image_part(large, detail=detail))).status == 200
            sides[detail] = max(pixels_of(door)[0][0])

    assert sides["low"] < sides["auto"] <= sides["high"] == sides["original"]
    assert sides["auto"] == 600


async def test_text_goes_to_a_model_that_sees_as_to_any_other() -> None:
    async with door_that_sees() as door:
        assert (await ask(door)).status == 200
        assert door.client.body.messages[0].content == "Look:"
        assert door.client.body.images == ()


async def test_a_text_model_is_not_shown_anything() -> None:
    """It says which models see; nothing was decoded or fetched for that."""
    async with picture_host(file(png(RED))) as host, door_that_sees(allowed_hosts=("127.0.0.1",)) as door:
        reply = await ask(door, image_part(host.url), model="plain")
        good = await ask(door, model="plain")

    assert (reply.status, reply.error["param"]) == (400, PATH)
    assert "takes text only" in reply.error["message"]
    assert MODEL in reply.error["message"]
    assert good.status == 200
    assert host.heads == []


async def test_a_model_that_is_not_there_is_not_shown_anything_either() -> None:
    async with door_that_sees() as door:
        reply = await ask(door, image_part(PICTURE), model="nope")

    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


# --- what is refused --------------------------------------------------------------------------

PDF_URL = data_url(pdf([RED]), "application/pdf")
BAD_PARTS: dict[str, list[object]] = {
    PATH: [
        {"type": "image_url"},
        {"type": "image_url", "image_url": None},
        {"type": "image_url", "image_url": 5},
        {"type": "image_url", "image_url": []},
        {"type": "input_image", "file_id": "file-1"},
        *(
            image_part(url)
            for url in (
                *("", "x", "data:", "data:,", "data:image/png", "data:image/png,x", "data:image/png;base64"),
                *("data:image/png;base64,", "data:image/png;base64,!!!!", "data:image/png;base64,AAAA"),
                *(PICTURE + "\n", PICTURE[:-3] + "%3D", " " + PICTURE, PICTURE[:60] + " " + PICTURE[60:]),
                *(PICTURE[:-5], PICTURE.rstrip("=") + "===", PICTURE.replace("image/png", "text/html")),
                *(
                    PICTURE.replace(";base64", ""),
                    PICTURE.replace("data:image/png;", "data:" + "x" * 500 + ";"),
                ),
                data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
                data_url(b"<html></html>"),
                data_url(encoded(RED, "TIFF"), "image/tiff"),
                data_url(png(RED)[:-20]),
                data_url(png(RED)[:30]),
                data_url(png(Image.new("1", (9000, 9000)))),
                *("file:///etc/passwd", "file:./x.png", "/etc/passwd", "//127.0.0.1/", "ftp://127.0.0.1/x"),
                *(
                    "http://127.0.0.1:1/",
                    "http://localhost:1/x.png",
                    "http://[::1]:1/",
                    "http://169.254.169.254/",
                ),
            )
        ),
    ],
    f"{PATH}.url": [
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": {"url": None}},
    ],
    f"{PATH}.detail": [image_part(PICTURE, detail="huge"), image_part(PICTURE, detail=5)],
    "messages[0].content[1].file.file_data": [
        {"type": "file"},
        {"type": "file", "file": {}},
        {"type": "file", "file": {"file_id": "file-1"}},
        file_part("data:application/pdf;base64,"),
        file_part("not base64"),
        file_part(data_url(b"%PDF-1.4 junk", "application/pdf")),
        file_part(data_url(pdf([RED])[:200], "application/pdf")),
        file_part(data_url(b"PK\x03\x04", "application/zip")),
        file_part(data_url(b"text", "text/plain")),
        file_part("https://127.0.0.1/x.pdf"),
    ],
    "messages[0].content[1].file": [{"type": "file", "file": 5}],
    "messages[0].content[1].file_data": [{"type": "input_file"}, {"type": "input_file", "file_id": "file-1"}],
    "messages[0].content[1]": [
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://127.0.0.1/x.mp4"}},
    ],
    "messages[0].content[1].type": [{"type": "image"}, {"type": "hologram"}],
}


async def test_every_wrong_part_is_refused_by_its_name_and_the_next_request_is_answered() -> None:
    wrong = []
    async with door_that_sees(fetch_timeout_s=1) as door:
        for param, parts in BAD_PARTS.items():
            for part in parts:
                reply = await ask(door, part)
                error = reply.error
                if reply.status not in (400, 413, 415) or error["param"] != param:
                    wrong.append((str(part)[:150], reply.status, error))
                elif not error["message"].startswith(param):
                    wrong.append((str(part)[:150], error))
        good = await ask(door, image_part(PICTURE))

    assert wrong == []
    assert good.status == 200
    assert len(door.client.submitted) == 1


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
async def test_pictures_stand_only_where_templates_have_a_place_for_them(role: str) -> None:
    turns = [{"role": role, "content": [image_part(PICTURE)]}, {"role": "user", "content": "x"}]
    async with door_that_sees() as door:
        reply = await door.post("/v1/chat/completions", {"model": MODEL, "messages": turns})

    assert (reply.status, reply.error["param"]) == (400, "messages[0].content[0].image_url")


async def test_too_many_pictures_are_refused_before_one_is_fetched() -> None:
    async with picture_host(file(png(RED))) as host, door_that_sees(allowed_hosts=("127.0.0.1",)) as door:
        most = await ask(door, *[image_part(host.url)] * 16)
        num_asked = len(host.heads)
        more = await ask(door, *[image_part(host.url)] * 20)

    assert most.status == 200
    assert (more.status, more.error["param"]) == (400, "messages[0].content[17].image_url")
    assert len(host.heads) == num_asked == 16


async def test_pages_count_as_pictures() -> None:
    three = file_part(data_url(pdf([RED] * 3), "application/pdf"))
    async with door_that_sees(max_images=4) as door:
        most = await ask(door, three, image_part(PICTURE))
        more = await ask(door, three, three)

    assert most.status == 200
    assert more.status == 400
    assert more.error["param"].startswith("messages[0].content[")


async def test_a_file_over_the_limit_is_a_413_that_names_it() -> None:
    async with door_that_sees(max_file_bytes=1000) as door:
        reply = await ask(door, image_part(data_url(bytes(2000))))

    assert (reply.status, reply.error["code"], reply.error["param"]) == (413, "request_too_large", PATH)


async def test_errors_hold_nothing_of_the_picture() -> None:
    secret = base64.b64encode(b"my secret picture").decode()
    async with door_that_sees() as door:
        replies = [await ask(door, image_part(f"data:image/png;base64,{secret}{end}")) for end in ("", "!")]
        replies.append(await ask(door, image_part(f"http://secret:{secret}@127.0.0.1/{secret}")))
        replies.append(await ask(door, image_part(f"http://127.0.0.1:1/{secret}")))

    assert [reply.status for reply in replies] == [415, 400, 400, 400]
    assert all(b"ecret" not in reply.body.lower() and secret.encode() not in reply.body for reply in replies)


# --- pictures from elsewhere ------------------------------------------------------------------


async def test_a_picture_of_a_named_host_is_fetched() -> None:
    async with picture_host(file(png(BLUE))) as host, door_that_sees(allowed_hosts=("127.0.0.1",)) as door:
        reply = await ask(door, image_part(host.url))

        assert reply.status == 200
        assert pixels_of(door) == [rgb(BLUE)]


async def test_a_remote_file_that_is_no_picture_is_told_as_one_that_is_not_there() -> None:
    """An error that differs would say what answers at an address."""
    async with (
        picture_host(file(b"<h1>The internal wiki</h1>")) as wiki,
        door_that_sees(allowed_hosts=("127.0.0.1",)) as door,
    ):
        page = await ask(door, image_part(wiki.url))
        nobody = await ask(door, image_part("http://127.0.0.1:1/"))
        inside = await ask(door, image_part("http://localhost:1/"))

    assert len(wiki.heads) == 1
    assert page.error == nobody.error == inside.error


async def test_only_some_pictures_of_a_request_are_fetched_at_once() -> None:
    is_over = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        await file(png(BLUE))(writer)

    async with picture_host(wait) as host, door_that_sees(allowed_hosts=("127.0.0.1",)) as door:
        asking = asyncio.create_task(ask(door, *[image_part(host.url)] * 16))
        await _until(lambda: host.num_open >= 4)
        is_over.set()
        reply = await asking

    assert reply.status == 200
    assert host.max_open == 4


# --- who leaves -------------------------------------------------------------------------------


async def test_a_client_that_leaves_while_its_picture_is_fetched_frees_all() -> None:
    async def never_end(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with picture_host(never_end) as host, door_that_sees(allowed_hosts=("127.0.0.1",)) as door:
        turn = {"role": "user", "content": [image_part(host.url), image_part(PICTURE)]}
        body = {"model": MODEL, "messages": [turn]}
        connection = await door.raw(door.bytes_of("POST", "/v1/chat/completions", body))
        await _until(lambda: host.num_open == 1)
        connection.close()

        await _until(lambda: host.num_open == 0)
        assert door.client.submitted == []
        # Nothing is left that would keep the others waiting.
        assert (await ask(door, image_part(PICTURE))).status == 200


async def test_pixels_go_through_a_file_that_is_gone_with_the_answer(tmp_path: Any) -> None:
    client = seeing()
    client.script = say_nothing
    client.shared_folder = shared_folder(str(tmp_path), "peer")
    folder = tmp_path / "70656572"
    folder.mkdir()
    media = MediaSettings(shared_memory_bytes=0)
    async with open_door(client, media=media) as door:
        asking = asyncio.create_task(ask(door, image_part(PICTURE), image_part(PICTURE + "!")))
        assert (await asking).status == 400
        assert list(folder.iterdir()) == []

        asking = asyncio.create_task(ask(door, image_part(PICTURE)))
        await client.wait_for(lambda: client.submitted)
        (image,) = client.body.images
        assert isinstance(image.pixels, SharedPixels)
        assert (tmp_path / image.pixels.name).read_bytes() == RED.tobytes()
        client.submitted[0][0].put(KernelUnavailable("over"))
        await asking


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_a_large_body_does_not_hold_up_others() -> None:
    """13 MB of JSON, as Open WebUI sends a photograph: read in a thread, and checked without `re`."""
    noise = Image.effect_noise((1800, 1800), 100).convert("RGB")
    part = image_part(data_url(encoded(noise, "PNG", compress_level=0)))
    data = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": [part]}]}).encode()
    assert 12e6 < len(data) < 15e6
    async with door_that_sees() as door:
        gaps_s = [await _longest_gap_s(door.post("/v1/chat/completions", data)) for _ in range(3)]

    # 15 ms on an idle machine; 80 ms and more without either.
    assert min(gaps_s) < 0.06


async def _longest_gap_s(asking: Coroutine[Any, Any, Reply]) -> float:
    """How long the event loop stood still at most until the good answer came."""
    loop = asyncio.get_running_loop()
    longest_s, last_s = 0.0, loop.time()
    task = asyncio.create_task(asking)
    while not task.done():
        await asyncio.sleep(0.001)
        longest_s, last_s = max(longest_s, loop.time() - last_s), loop.time()
    assert (await task).status == 200
    return longest_s
