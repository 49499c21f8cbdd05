"""Bodies as large and odd as the HTTP frontend lets them come, or larger, for a test and a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MIB = 1024 * 1024
LARGE = 20 * MIB
# What `plugins.strict_json` lets through of a shape that is not a plain string.
DENSE = 4 * MIB - 64
# Looks at pictures.
MODEL = "large/bodies"

CHAT, COMPLETION, RESPONSE = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, EMBEDDINGS = "/v1/messages", "/v1/embeddings"

_BEGIN = b'{"model":"%b","max_%%btokens":1,' % MODEL.encode()
_CHAT = _BEGIN % b"" + b'"messages":[{"role":"user","content":"hi"}],'
_TEXT = _BEGIN % b"" + b'"messages":[{"role":"user","content":"'
_PICTURE = _TEXT[:-1] + b'[{"type":"image_url","image_url":{"url":"'
_DATA = b"data:image/png;base64,"
_PROMPT = _BEGIN % b"" + b'"prompt":'
_INPUT = _BEGIN % b"output_" + b'"input":['
_SHOWN = _INPUT + b'{"role":"user","content":[{"type":"input_image","image_url":"'


class LargeBody(NamedTuple):
    """A body, made when it is needed: all together are half a gigabyte."""

    path: str
    # Of the answer.
    status: int
    make: Callable[[], bytes]


def _fill(begin: bytes, unit: bytes, end: bytes, size: int) -> bytes:
    return begin + unit * ((size - len(begin) - len(end)) // len(unit)) + end


def _turns(num: int, size: int) -> bytes:
    one = b'{"role":"user","content":"%b"}' % (b"x" * size)
    return b",".join([one] * num) + b"]}"


def _messages(num: int, size: int) -> bytes:
    return _BEGIN % b"" + b'"messages":[' + _turns(num, size)


BODIES = {
    "numbers": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"x":[1', b",1", b"]}", LARGE)),
    "numbers as far as they are let": LargeBody(
        CHAT, 400, lambda: _fill(_CHAT + b'"x":[1', b",1.5", b'],"temperature":"x"}', DENSE)
    ),
    "wrong tokens": LargeBody(COMPLETION, 400, lambda: _fill(_PROMPT + b"[1", b",1.5", b"]}", DENSE)),
    "a million tokens": LargeBody(COMPLETION, 200, lambda: _fill(_PROMPT + b"[1", b",1", b"]}", 2 * MIB)),
    "prompts": LargeBody(COMPLETION, 400, lambda: _fill(_PROMPT + b"[[1", b"],[1", b"]]}", DENSE)),
    "spaces": LargeBody(CHAT, 400, lambda: _fill(_CHAT, b" ", b'"x":1}', LARGE)),
    "deep nesting": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"x":', b"[", b"", LARGE)),
    "deep objects": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"x":', b'{"x":', b"", LARGE)),
    "escapes": LargeBody(CHAT, 400, lambda: _fill(_TEXT, b"\\n", b'"}]}', LARGE)),
    "escapes as far as they are let": LargeBody(CHAT, 200, lambda: _fill(_TEXT, b"\\n", b'"}]}', DENSE)),
    "escaped quotes": LargeBody(CHAT, 200, lambda: _fill(_TEXT, b'\\"', b'"}]}', DENSE)),
    "backslashes": LargeBody(CHAT, 200, lambda: _fill(_TEXT, b"\\\\", b'"}]}', DENSE)),
    "other letters": LargeBody(CHAT, 200, lambda: _fill(_TEXT, "é".encode(), b'"}]}', DENSE)),
    "text": LargeBody(CHAT, 200, lambda: _fill(_TEXT, b"a ", b'"}]}', 8 * MIB)),
    "too much text": LargeBody(CHAT, 400, lambda: _fill(_TEXT, b"a ", b'"}]}', LARGE)),
    "a hundred thousand messages": LargeBody(CHAT, 400, lambda: _messages(100_000, 1)),
    "many messages": LargeBody(CHAT, 200, lambda: _messages(4096, 2000)),
    "keys": LargeBody(
        CHAT, 400, lambda: _CHAT + b'"logit_bias":{' + b",".join(b'"%d":1' % n for n in range(49_000)) + b"}}"
    ),
    "a long key": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"', b"k", b'":1}', LARGE)),
    "a long number": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"seed":', b"1", b"}", LARGE)),
    "a picture": LargeBody(CHAT, 415, lambda: _fill(_PICTURE + _DATA, b"AAAA", b'"}}]}]}', LARGE)),
    "a picture and an emoji": LargeBody(
        CHAT, 400, lambda: _fill(_PICTURE + "🙂".encode() + _DATA, b"AAAA", b'"}}]}]}', LARGE)
    ),
    "many items": LargeBody(RESPONSE, 200, lambda: _INPUT + _turns(4096, 2000)),
    "an item of text": LargeBody(
        RESPONSE, 200, lambda: _fill(_INPUT + b'{"role":"user","content":"', b"a ", b'"}]}', 8 * MIB)
    ),
    "a picture in an item": LargeBody(
        RESPONSE, 415, lambda: _fill(_SHOWN + _DATA, b"AAAA", b'"}]}]}', LARGE)
    ),
    "many turns": LargeBody(MESSAGES, 200, lambda: _messages(4096, 2000)),
    "inputs": LargeBody(
        EMBEDDINGS,
        200,
        lambda: _BEGIN % b"" + b'"input":[' + b",".join([b'"%b"' % (b"x" * 4000)] * 2048) + b"]}",
    ),
    "no end": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"x":"', b"a", b"", LARGE)),
    "no UTF-8": LargeBody(CHAT, 400, lambda: _fill(_CHAT + b'"x":"', b"a", b'\xff"}', LARGE)),
}
