"""From a conversation to arrays: token ids, whose turn they are, rope positions, patches and windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from tokenizers import Tokenizer

from workers.vision.tiny_vl.training.conversations import Conversation, Message
from workers.vision.tiny_vl.training.patches import patchify
from workers.vision.tiny_vl.training.paths import MODEL

# Of answers; statistics are kept by their index.
KINDS = (
    *("count", "describe", "json", "color", "shape", "where", "yesno", "background", "spatial", "absent"),
    *("number", "word", "describe_number", "describe_word", "rows", "which_row", "value", "status", "labels"),
    *("describe_card", "json_card", "images", "multi_describe", "multi_color", "multi_shape", "multi_text"),
    *("multi_which", "no_image", "greeting", "generic", "count_to", "other"),
    *("row_exists", "row_index", "value_row"),
)
SYSTEM_PROMPT = "You are a helpful assistant."

TOKENIZER = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
IM_START = TOKENIZER.token_to_id("<|im_start|>")
IM_END = TOKENIZER.token_to_id("<|im_end|>")
VISION_START = TOKENIZER.token_to_id("<|vision_start|>")
VISION_END = TOKENIZER.token_to_id("<|vision_end|>")
IMAGE = TOKENIZER.token_to_id("<|image_pad|>")
PAD = TOKENIZER.token_to_id("<|endoftext|>")
# Windows of the vision tower's local attention, in patches.
WINDOW = 8

# From `patchify`: patches, rows, columns.
Patched: TypeAlias = tuple[np.ndarray, int, int]


class Piece(NamedTuple):
    """A part of the prompt; of "image" only the place counts."""

    what: Literal["text", "token", "answer", "answer_end", "image"]
    text: str = ""
    token: int = 0


class VisionArrays(NamedTuple):
    """The patches of all pictures; N is their number."""

    # uint8, shape (N, 588).
    patches: np.ndarray
    # (row, column) in its picture; int16, shape (N, 2).
    places: np.ndarray
    # Which picture and which window it belongs to; int16, shape (N,).
    images: np.ndarray
    windows: np.ndarray


class Encoded(NamedTuple):
    """A conversation of L tokens."""

    # int64, shape (L,).
    ids: np.ndarray
    # Which answer the token is of, -1 for none; int64, shape (L,).
    turns: np.ndarray
    # Time, row, column of the rope; int64, shape (3, L).
    positions: np.ndarray
    vision: VisionArrays | None
    # Index in KINDS of each answer.
    kinds: list[int]


def encode(
    conversation: Conversation,
    *,
    add_vision_id: bool = False,
    max_tokens: int | None = None,
    patched: Sequence[Patched] | None = None,
) -> Encoded | None:
    """Encode a conversation.

    Args:
        conversation: From `make_conversation`.
        add_vision_id: Write "Picture 1: " before pictures, as the template can.
        max_tokens: Later turns are left out to keep below it.
        patched: The pictures if `patchify` was called already.

    Returns:
        None if not even the turns with all the pictures fit.
    """
    if patched is None:
        patched = [patchify(image) for image in conversation.images]
    tokens = _Tokens()
    num_images = 0
    for piece in _pieces(conversation.messages, add_vision_id):
        match piece.what:
            case "image":
                _, rows, columns = patched[num_images]
                tokens.add_image(rows // 2, columns // 2)
                num_images += 1
            case "text":
                tokens.add(_text_ids(piece.text))
            case "token":
                tokens.add([piece.token])
            case "answer":
                tokens.start_answer(_text_ids(piece.text))
            case "answer_end":
                tokens.end_answer(piece.token, max_tokens)
    length = len(tokens.ids)
    if max_tokens is not None and length > max_tokens:
        length = tokens.whole_turns
        if tokens.ids[:length].count(VISION_START) != num_images:
            return None
    return Encoded(
        ids=np.array(tokens.ids[:length], np.int64),
        turns=np.array(tokens.turns[:length], np.int64),
        positions=np.array(tokens.positions[:length], np.int64).T,
        vision=_vision_arrays(patched[:num_images]) if num_images else None,
        kinds=[KINDS.index(kind) for kind in conversation.kinds],
    )


class _Tokens:
    """The tokens so far. Text counts up in all three positions; a picture spans rows and columns."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.turns: list[int] = []
        self.positions: list[tuple[int, int, int]] = []
        # Tokens up to the end of the last answer that fits.
        self.whole_turns = 0
        self._turn = -1
        self._next = 0

    def add(self, ids: Sequence[int], turn: int = -1) -> None:
        self.ids += ids
        self.turns += [turn] * len(ids)
        self.positions += [(n, n, n) for n in range(self._next, self._next + len(ids))]
        self._next += len(ids)

    def add_image(self, rows: int, columns: int) -> None:
        self.add([VISION_START])
        start = self._next
        places = [(start, start + row, start + column) for row in range(rows) for column in range(columns)]
        self.ids += [IMAGE] * len(places)
        self.turns += [-1] * len(places)
        self.positions += places
        self._next += max(rows, columns)
        self.add([VISION_END])

    def start_answer(self, ids: Sequence[int]) -> None:
        self._turn += 1
        self.add(ids, self._turn)

    def end_answer(self, token: int, max_tokens: int | None) -> None:
        self.add([token], self._turn)
        if max_tokens is not None and len(self.ids) <= max_tokens:
            self.whole_turns = len(self.ids)


def _pieces(messages: Sequence[Message], add_vision_id: bool) -> Iterator[Piece]:
    """The chat template of Qwen2.5-VL."""
    if messages[0].role != "system":
        yield from _message("system\n" + SYSTEM_PROMPT)
    num_images = 0
    for role, content in messages:
        if role == "assistant":
            yield Piece("token", token=IM_START)
            yield Piece("text", "assistant\n")
            yield Piece("answer", str(content))
            yield Piece("answer_end", token=IM_END)
            yield Piece("text", "\n")
        elif isinstance(content, str):
            yield from _message(f"{role}\n{content}")
        else:
            yield Piece("token", token=IM_START)
            text = f"{role}\n"
            for part in content:
                if part["type"] == "image":
                    num_images += 1
                    text += f"Picture {num_images}: " if add_vision_id else ""
                    if text:
                        yield Piece("text", text)
                    yield Piece("image")
                    text = ""
                else:
                    text += part["text"]
            if text:
                yield Piece("text", text)
            yield Piece("token", token=IM_END)
            yield Piece("text", "\n")


def _message(text: str) -> Iterator[Piece]:
    yield Piece("token", token=IM_START)
    yield Piece("text", text)
    yield Piece("token", token=IM_END)
    yield Piece("text", "\n")


@lru_cache(maxsize=60_000)
def _text_ids(text: str) -> list[int]:
    ids: list[int] = TOKENIZER.encode(text).ids
    return ids


def _vision_arrays(patched: Sequence[Patched]) -> VisionArrays:
    places, images, windows = [], [], []
    first_window = 0
    for index, (_, rows, columns) in enumerate(patched):
        shape = (rows // 2, columns // 2, 2, 2)
        row = np.broadcast_to(np.arange(rows).reshape(-1, 2)[:, None, :, None], shape).reshape(-1)
        column = np.broadcast_to(np.arange(columns).reshape(-1, 2)[None, :, None, :], shape).reshape(-1)
        places.append(np.stack([row, column], -1))
        images.append(np.full(rows * columns, index))
        windows_across = -(-columns // WINDOW)
        window = row // WINDOW * windows_across + column // WINDOW + first_window
        first_window = int(window.max()) + 1
        windows.append(window)
    return VisionArrays(
        patches=np.concatenate([patches for patches, _, _ in patched]),
        places=np.concatenate(places).astype(np.int16),
        images=np.concatenate(images).astype(np.int16),
        windows=np.concatenate(windows).astype(np.int16),
    )
