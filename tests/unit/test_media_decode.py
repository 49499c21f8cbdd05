"""Decoding: which files are taken, what becomes of their pixels, and how bad ones are refused."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib

import pytest
from leaks import LEAK
from pictures import STORED_AS, encoded, png
from PIL import Image, ImageFile

from plugins.media.decode import Page, decode
from plugins.media.decode_task import Task
from plugins.media.rgb import digest_of, to_rgb
from transports.errors import InvalidImage, RequestError, UnsupportedMediaType

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def a_task(**fields: object) -> Task:
    defaults: dict[str, object] = {
        "num_bytes": 0,
        "side": 512,
        "max_pixels": 50_000_000,
        "pages": "",
        "max_pages": 16,
        "cpu_s": 5,
        "folder": "",
        "names": (),
        "shared_from_bytes": 0,
        "max_shared_bytes": 0,
    }
    return Task(**(defaults | fields))  # type: ignore[arg-type]


def pages_of(data: bytes, **fields: object) -> list[Page]:
    return list(decode(data, a_task(**fields), lambda: None))


def decoded(data: bytes, **fields: object) -> Image.Image:
    (page,) = pages_of(data, **fields)
    assert page.picture.mode == "RGB"
    return page.picture


def refusal(data: bytes, **fields: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        pages_of(data, **fields)
    assert not LEAK.search(caught.value.message), caught.value.message
    return caught.value


def digest(picture: Image.Image) -> bytes:
    return digest_of(*picture.size, picture.tobytes())


def quarters(size: tuple[int, int] = (6, 4)) -> Image.Image:
    """Another colour in each corner, so that no turn of it looks like another."""
    picture = Image.new("RGB", size, WHITE)
    width, height = (length // 2 for length in size)
    picture.paste(RED, (0, 0, width, height))
    picture.paste(GREEN, (width, 0, size[0], height))
    picture.paste(BLUE, (0, height, width, size[1]))
    return picture


def noise(size: tuple[int, int] = (24, 18)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *chunks: bytes, bits: int = 1) -> bytes:
    """A grey PNG whose pixels are all 0, as large as it likes to be: a bomb."""
    row = b"\0" + bytes((width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")),
    )


def gif_frame(width: int = 1, height: int = 1) -> bytes:
    """One white frame of a GIF with two colours; its data is that of one pixel."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"


def gif_of(*frames: bytes, width: int = 1, height: int = 1) -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0)
    return b"GIF89a" + screen + b"\0\0\0\xff\xff\xff" + b"".join(frames) + b";"


# --- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PNG", "WEBP", "GIF", "BMP"])
def test_formats_keep_their_pixels(name: str) -> None:
    picture = quarters()

    assert digest(decoded(encoded(picture, name, lossless=True))) == digest(picture)


def test_jpeg_is_nearly_what_was_drawn() -> None:
    picture = decoded(encoded(quarters((64, 48)), "JPEG", quality=95))

    assert picture.size == (64, 48)
    assert all(abs(a - b) < 8 for a, b in zip(_pixel(picture, 8, 8), RED, strict=True))


def test_heic_is_nearly_what_was_drawn() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(quarters((64, 48))).save(file, quality=90)

    picture = decoded(file.getvalue())

    assert picture.size == (64, 48)
    assert all(abs(a - b) < 16 for a, b in zip(_pixel(picture, 8, 8), RED, strict=True))


def test_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    error = refusal(b"\0\0\0\x18ftypheic" + bytes(16))

    assert isinstance(error, UnsupportedMediaType)
    assert "mlxd[heic]" in error.message


@pytest.mark.parametrize(
    "name",
    ["TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "ICNS", "JPEG2000", "AVIF", "EPS", "MSP", "XBM"],
)
def test_formats_that_are_not_named_are_refused(name: str) -> None:
    """Pillow reads them all; the surface is what we name."""
    mode = {"MSP": "1", "XBM": "1"}.get(name, "RGB")
    try:
        data = encoded(noise((64, 64)).convert(mode), name)
    except (OSError, KeyError) as e:
        pytest.skip(f"this Pillow does not write {name}: {e}")

    error = refusal(data)

    assert isinstance(error, UnsupportedMediaType)
    assert "PNG, JPEG" in error.message


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<!DOCTYPE html><html></html>",
        b"8BPS\0\1" + bytes(64),
        b"SIMPLE  =                    T" + bytes(64),
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\x00\x00\x00\x00",
        b"hello",
        b"\x1f\x8b\x08\x00" + bytes(64),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert isinstance(refusal(data), UnsupportedMediaType)


def test_nothing_is_refused() -> None:
    assert "no bytes" in refusal(b"").message


def test_a_picture_with_a_pdf_inside_is_a_picture() -> None:
    text = chunk(b"tEXt", b"x\0%PDF-1.7")

    assert decoded(png_of(2, 2, text)).size == (2, 2)


# --- pixels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("side", [512, 40])
def test_a_camera_held_any_way_gives_the_same_picture(orientation: int, side: int) -> None:
    """G6: forgetting it changes the answer; exact also where the picture is made smaller."""
    upright = noise((90, 60))
    stored_as = STORED_AS[orientation]
    stored = upright if stored_as is None else upright.transpose(stored_as)
    exif = Image.Exif()
    exif[0x0112] = orientation

    data = encoded(stored, "PNG", exif=exif)

    assert digest(decoded(data, side=side)) == digest(decoded(png(upright), side=side))


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_exif_are_read(order: str) -> None:
    magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
    exif = magic + struct.pack(f"{order}IHHHIH", 8, 1, 0x0112, 3, 1, 3) + bytes(6)

    picture = decoded(png_of(2, 1, chunk(b"eXIf", exif)))

    assert picture.size == (2, 1)
    assert digest(decoded(_with_exif(exif))) == digest(quarters().transpose(Image.Transpose.ROTATE_180))


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, 99, 0),
        b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, 0, 0),
        # As a LONG, and twice.
        b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 4, 1, 6),
        b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 2, 6, 6),
        # 65,535 entries are announced, none is there.
        b"II*\0" + struct.pack("<IH", 8, 65_535),
        b"not exif at all",
        bytes(10_000_000),
        b"II*\0" + struct.pack("<I", 8) + b"\xff" * 10_000_000,
    ],
    ids=["empty", "short", "far", "99", "0", "long", "two", "many", "junk", "10 MB", "10 MB of entries"],
)
def test_exif_that_makes_no_sense_is_upright(exif: bytes) -> None:
    start = time.process_time()

    assert digest(decoded(_with_exif(exif))) == digest(quarters())
    assert time.process_time() - start < 1


def test_entries_of_exif_that_all_hold_the_whole_file_cost_nothing() -> None:
    """A full reader would copy 5 MB for each of 60,000 entries."""
    entry = struct.pack("<HHII", 0x9286, 7, 5_000_000, 8)
    exif = b"II*\0" + struct.pack("<IH", 8, 60_000) + entry * 60_000 + bytes(5_000_000)
    start = time.process_time()

    assert digest(decoded(_with_exif(exif))) == digest(quarters())
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "I;16", "F"]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (7, 5)])
def test_every_mode_and_shape_becomes_rgb(mode: str, size: tuple[int, int]) -> None:
    """G9."""
    picture = to_rgb(Image.new(mode, size), 512)

    assert picture.mode == "RGB"
    assert max(picture.size) == min(512, max(size))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_files_of_every_mode_are_taken(mode: str) -> None:
    name = "JPEG" if mode == "CMYK" else "PNG"

    assert decoded(encoded(Image.new(mode, (7, 5)), name)).size == (7, 5)


def test_transparency_is_white() -> None:
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))

    flat = decoded(png(picture))

    assert [_pixel(flat, 0, 0), _pixel(flat, 1, 0)] == [WHITE, (127, 127, 127)]


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    picture = Image.new("P", (2, 1), 1)
    picture.putpalette([*RED, *GREEN])
    picture.putpixel((0, 0), 0)

    flat = decoded(encoded(picture, "PNG", transparency=0))

    assert [_pixel(flat, 0, 0), _pixel(flat, 1, 0)] == [WHITE, GREEN]


def test_a_transparent_grey_is_white() -> None:
    flat = decoded(encoded(Image.new("L", (1, 1), 7), "PNG", transparency=7))

    assert _pixel(flat, 0, 0) == WHITE


def test_16_bits_are_scaled_and_not_cut_off() -> None:
    picture = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 128 * 257, 65_535)):
        picture.putpixel((x, 0), value)

    grey = decoded(png(picture))

    assert [_pixel(grey, x, 0)[0] for x in range(3)] == [0, 128, 255]


def test_cmyk_ink_is_dark() -> None:
    picture = decoded(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG", quality=95))

    assert max(_pixel(picture, 4, 4)) < 16


# --- size -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 500), (100, 50)), ((500, 1000), (50, 100)), ((100, 100), (100, 100)), ((60, 30), (60, 30))],
)
def test_the_larger_side_is_the_limit_and_nothing_grows(
    size: tuple[int, int], expected: tuple[int, int], name: str
) -> None:
    assert decoded(encoded(noise(size), name), side=100).size == expected


def test_a_jpeg_made_small_while_it_is_read_looks_the_same() -> None:
    """libjpeg's own halving, then Lanczos, against Lanczos alone."""
    photo = Image.radial_gradient("L").resize((1600, 1200)).convert("RGB")
    photo.paste(quarters((400, 400)), (600, 300))

    quick = decoded(encoded(photo, "JPEG", quality=92), side=256)
    slow = photo.resize((256, 192), Image.Resampling.LANCZOS)

    differences = [abs(a - b) for a, b in zip(quick.tobytes(), slow.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 2


@pytest.mark.parametrize(("size", "expected"), [((1, 10_000), (3, 512)), ((10_000, 1), (512, 3))])
def test_a_strip_is_widened_with_white(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Qwen's smart_resize refuses ratios over 200."""
    picture = decoded(png(Image.new("RGB", size, RED)))

    assert picture.size == expected
    assert {color for _, color in picture.getcolors() or []} == {RED, WHITE}


def test_a_single_pixel_stays_one() -> None:
    picture = decoded(png(Image.new("RGB", (1, 1), RED)))

    assert (picture.size, _pixel(picture, 0, 0)) == ((1, 1), RED)


# --- digests ----------------------------------------------------------------------------------


def test_pictures_of_the_same_bytes_and_another_shape_differ() -> None:
    """G10: CVE-2025-46722."""
    tall, wide = (decoded(png(Image.new("RGB", size))) for size in ((30, 100), (100, 30)))

    assert tall.tobytes() == wide.tobytes()
    assert digest(tall) != digest(wide)


def test_palettes_count() -> None:
    first, second = (Image.new("P", (4, 4)) for _ in range(2))
    first.putpalette([*RED])
    second.putpalette([*GREEN])

    assert first.tobytes() == second.tobytes()
    assert digest(decoded(png(first))) != digest(decoded(png(second)))


def test_the_same_pixels_in_two_formats_are_the_same_picture() -> None:
    assert digest(decoded(png(quarters()))) == digest(decoded(encoded(quarters(), "BMP")))


# --- damage -----------------------------------------------------------------------------------

WHOLE = {
    "PNG": encoded(noise(), "PNG"),
    "APNG": encoded(noise(), "PNG", save_all=True, append_images=[noise()]),
    "JPEG": encoded(noise(), "JPEG"),
    "progressive JPEG": encoded(noise(), "JPEG", progressive=True),
    "WebP": encoded(noise(), "WEBP"),
    "lossless WebP": encoded(noise(), "WEBP", lossless=True),
    "GIF": encoded(noise(), "GIF"),
    "BMP": encoded(noise(), "BMP"),
    "PDF": encoded(noise(), "PDF"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_prefix_is_refused(name: str) -> None:
    """G8. Of long ones every fifth byte, and each of the last 64."""
    whole = WHOLE[name]
    assert pages_of(whole)

    taken = [
        length
        for length in (*range(0, len(whole) - 64, 5), *range(len(whole) - 64, len(whole)))
        if not _is_refused(whole[:length])
    ]

    assert taken == []


@pytest.mark.parametrize("name", WHOLE)
def test_flipped_bytes_are_refused_or_decoded(name: str) -> None:
    """Nothing else may come out of a library, whatever it meets."""
    whole = WHOLE[name]
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF

        _is_refused(bytes(damaged))


def test_a_jpeg_with_bytes_after_its_end_is_taken() -> None:
    """Phones append a film to a photograph."""
    assert decoded(WHOLE["JPEG"] + b"\xff\xda" + bytes(1000)).size == (24, 18)


def test_the_thumbnail_in_a_jpeg_is_not_its_end() -> None:
    exif = Image.Exif()
    exif[0x010E] = "\xff\xd9"
    data = encoded(noise(), "JPEG", exif=exif.tobytes() + WHOLE["JPEG"])

    assert decoded(data).size == (24, 18)
    assert "cut short" in refusal(data[:-2]).message


def test_pillow_is_told_to_refuse_what_is_truncated() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# --- bombs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "what"), [((13_000, 13_000), "pixels"), ((16_385, 1), "16384"), ((1, 16_385), "16384")]
)
def test_too_many_pixels_are_refused_by_the_header(size: tuple[int, int], what: str) -> None:
    """G2."""
    start = time.process_time()
    error = refusal(png_of(*size) if size != (13_000, 13_000) else _header_only(*size))

    assert isinstance(error, InvalidImage)
    assert what in error.message
    assert f"{size[0]} x {size[1]}" in error.message
    assert time.process_time() - start < 0.5


def test_the_limit_of_pixels_is_the_setting() -> None:
    assert decoded(png_of(100, 100), max_pixels=10_000).size == (100, 100)
    assert "9999" in refusal(png_of(100, 100), max_pixels=9_999).message


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_text_that_unpacks_to_100_mb_is_not_unpacked(kind: bytes) -> None:
    """G3."""
    packed = zlib.compress(bytes(100_000_000), 9)
    head = b"x\0\1\0\0\0" if kind == b"iTXt" else b"x\0\0"
    start = time.process_time()

    _is_refused(png_of(2, 2, chunk(kind, head + packed)))

    assert time.process_time() - start < 0.5


def test_of_a_hundred_thousand_frames_one_is_read() -> None:
    """G4: counting them would walk the file."""
    data = gif_of(gif_frame() * 100_000)
    start = time.process_time()

    assert decoded(data).size == (1, 1)
    assert time.process_time() - start < 0.1


def test_the_first_frame_of_an_animation_is_the_picture() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE)]

    for name in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
        assert _pixel(decoded(data), 4, 4) == RED


def test_a_frame_larger_than_its_screen_counts_with_its_own_size() -> None:
    """G5: CVE-2022-45198."""
    assert "9000 x 9000" in refusal(gif_of(gif_frame(9_000, 9_000))).message
    assert _is_refused(gif_of(gif_frame(60_000, 60_000)))


def _pixel(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel


def _with_exif(exif: bytes) -> bytes:
    """`quarters` as PNG with that EXIF data; written by hand, since Pillow leaves out what makes no sense."""
    data = png(quarters())
    end = 8 + 25
    return data[:end] + chunk(b"eXIf", exif) + data[end:]


def _header_only(width: int, height: int) -> bytes:
    return png_of(1, 1).replace(
        chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 1, 0, 0, 0, 0)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
    )


def _is_refused(data: bytes) -> bool:
    try:
        pages_of(data)
    except RequestError as e:
        assert not LEAK.search(e.message), e.message
        return True
    return False
