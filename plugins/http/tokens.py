"""POST /tokenize and /detokenize, as llama.cpp and vLLM have them: what a text is to a model, and back."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from plugins.http.body import read_body
from plugins.http.exchange import Exchange
from plugins.http.request_headers import terms_of
from plugins.http.unusable_fields import UnusableFields
from plugins.openai.content import read_turns
from plugins.openai.requests import MAX_PROMPT_TOKENS, InputMessage, TokenId
from plugins.openai.tools import InputTools, TemplateFields, read_reasoning, read_tools
from plugins.packed_tokens import ids_of, pieces_of
from plugins.renamed import renamed
from plugins.turns import chat_messages, check_text
from plugins.validation import Reader, aside
from transports.errors import RequestError, TaskNotSupported
from transports.messages import ChatRequest, CompletionRequest
from transports.tokens import Tokens

# Of a token's number and text in an answer, about.
TOKEN_BYTES = 16

_encode = msgspec.json.Encoder().encode


class TokenizeBody(Struct, frozen=True, kw_only=True):
    """POST /tokenize; one of content, prompt and messages."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    # llama.cpp's names.
    content: str | None = None
    add_special: bool | None = None
    with_pieces: bool | None = None
    # vLLM's.
    prompt: str | None = None
    messages: Annotated[list[InputMessage], Meta(min_length=1, max_length=4096)] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    # Of a conversation, as in /v1/chat/completions.
    tools: InputTools | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: TemplateFields | None = None
    # Taken where they ask for what is done anyway.
    add_generation_prompt: bool | None = None
    parse_special: bool | None = None


class DetokenizeBody(Struct, frozen=True, kw_only=True):
    """POST /detokenize."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    tokens: Annotated[list[TokenId], Meta(max_length=MAX_PROMPT_TOKENS)]


class TokenPiece(TypedDict):
    """A token and its text; its bytes where they are part of a character."""

    id: int
    piece: str | list[int]


class Tokenized(TypedDict):
    """The tokens of a text."""

    tokens: list[int | TokenPiece]
    count: int
    max_model_len: int
    token_strs: list[str] | None


class Detokenized(TypedDict):
    """The text of tokens, under vLLM's name and llama.cpp's."""

    prompt: str
    content: str


class Tokenizer:
    """The two routes."""

    def __init__(self, *, strict: bool) -> None:
        self._tokenize = Reader(TokenizeBody, strict=strict)
        self._detokenize = Reader(DetokenizeBody, strict=strict)
        self._unusable = UnusableFields()

    async def tokenize(self, exchange: Exchange) -> web.StreamResponse:
        """POST /tokenize."""
        data = await read_body(exchange)
        body, ignored = await self._tokenize.read_aside(data)
        exchange.note_ignored(ignored)
        name = _given(body)
        _check(body, name)
        if await self._unusable.fields(exchange, body.model, may_leave_out_tools=bool(body.tools)):
            exchange.note_ignored([*ignored, "tools"])
            body = msgspec.structs.replace(body, tools=None)
        request = await aside(len(data), _asked, body, name)
        found = await _tokens(exchange, body.model, request, name)
        models = {info.name: info for info in await exchange.models()}
        context_length = models[body.model].context_length if body.model in models else 0
        return exchange.json(await aside(_num_bytes(found), _tokenized, body, found, context_length))

    async def detokenize(self, exchange: Exchange) -> web.StreamResponse:
        """POST /detokenize."""
        body, ignored = await self._detokenize.read_aside(await read_body(exchange))
        exchange.note_ignored(ignored)
        request = CompletionRequest(prompt=tuple(body.tokens), count_only=True, tell_tokens=True)
        found = await _tokens(exchange, body.model, request, "tokens")
        return exchange.json(await aside(_num_bytes(found), _detokenized, found))


def _given(body: TokenizeBody) -> str:
    """Which of the three names for what is to be tokenized the request has."""
    given = [name for name in ("content", "prompt", "messages") if getattr(body, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise RequestError(
            f"content: expected one of content, prompt and messages, got {found}", param="content"
        )
    return given[0]


def _check(body: TokenizeBody, name: str) -> None:
    """Refuse what would be tokens of something else."""
    special = "add_special" if body.add_special is not None else "add_special_tokens"
    wrong = {
        "add_generation_prompt": (
            body.add_generation_prompt is False and not body.continue_final_message,
            "expected true: a conversation is told as it is answered",
        ),
        "parse_special": (body.parse_special is False, "expected true: names of special tokens are those"),
        special: (
            name == "messages" and getattr(body, special) is True,
            "only with content or prompt: a chat template puts special tokens there itself",
        ),
    }
    for param in () if name == "messages" else ("tools", "continue_final_message", "chat_template_kwargs"):
        wrong[param] = bool(getattr(body, param)), "only with messages"
    for param, (is_wrong, words) in wrong.items():
        if is_wrong:
            raise RequestError(f"{param}: {words}", param=param)


def _asked(body: TokenizeBody, name: str) -> ChatRequest | CompletionRequest:
    if body.messages is not None:
        turns = read_turns(body.messages)
        if sources := [source for turn in turns for source in turn.sources]:
            raise TaskNotSupported(f"{sources[0].path}: pictures are not counted here", param=sources[0].path)
        return ChatRequest(
            messages=chat_messages(turns, []),
            count_only=True,
            tell_tokens=True,
            continues_last=bool(body.continue_final_message),
            reasoning=read_reasoning(None, None, body.chat_template_kwargs),
            **read_tools(body.tools, None, None),
        )
    text = body.content if body.prompt is None else body.prompt
    special = body.add_special if body.add_special is not None else body.add_special_tokens
    check_text([text or ""], name)
    return CompletionRequest(
        prompt=text or "",
        # As the one whose name for the text it is has it.
        add_special=special if special is not None else body.prompt is not None,
        count_only=True,
        tell_tokens=True,
    )


async def _tokens(
    exchange: Exchange, model: str, request: ChatRequest | CompletionRequest, param: str
) -> Tokens:
    exchange.check_model(model)
    exchange.model = model
    if isinstance(request, CompletionRequest) and not request.prompt:
        return Tokens.of(exchange.request_id or "no-prompt", (), ())
    task = "chat" if isinstance(request, ChatRequest) else "completion"
    terms = terms_of(exchange.request.headers)
    found: Tokens | None = None
    async with exchange.submit(task=task, model=model, body=request, terms=terms) as submission:
        with renamed({"prompt": param}):
            async for update in submission:
                if isinstance(update, Tokens):
                    found = update
    if found is None:
        raise TaskNotSupported(f"model: {model} does not tell its tokens", param="model")
    return found


def _num_bytes(found: Tokens) -> int:
    """About as many as the answer will have."""
    return found.num_tokens * TOKEN_BYTES


def _tokenized(body: TokenizeBody, found: Tokens, context_length: int) -> bytes:
    tokens: list[int | TokenPiece] = list(ids_of(found))
    if body.with_pieces:
        # llama.cpp: the bytes where they are no text.
        pieces = map(_piece, pieces_of(found))
        tokens = [{"id": token, "piece": piece} for token, piece in zip(ids_of(found), pieces, strict=True)]
    texts = [piece.decode(errors="replace") for piece in pieces_of(found)] if body.return_token_strs else None
    answer: Tokenized = {
        "tokens": tokens,
        "count": found.num_tokens,
        "max_model_len": context_length,
        "token_strs": texts,
    }
    return _encode(answer)


def _detokenized(found: Tokens) -> bytes:
    text = found.text.decode(errors="replace")
    return _encode(Detokenized(prompt=text, content=text))


def _piece(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
