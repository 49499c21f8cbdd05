"""The table of routes."""

from __future__ import annotations

from plugins.anthropic.answers import Event, MessageObject, TokenCount
from plugins.anthropic.errors import MessageErrorBody
from plugins.anthropic.requests import CountBody, MessagesBody
from plugins.http import examples, info
from plugins.http.dialect import ANTHROPIC
from plugins.http.generate import Generator
from plugins.http.info import Health, Ready, Waiting
from plugins.http.messages import Messenger
from plugins.http.metrics import Metrics
from plugins.http.reference import Reference
from plugins.http.responses import Responder
from plugins.http.route import Answer, Body, Route
from plugins.http.tokens import DetokenizeBody, Detokenized, TokenizeBody, Tokenized, Tokenizer
from plugins.http.vectors import Vectorizer
from plugins.openai.answer_types import (
    ChatChunk,
    ChatCompletion,
    Completion,
    CompletionChunk,
    ListedModel,
    ModelList,
)
from plugins.openai.requests import ChatBody, CompletionBody
from plugins.openai.vector_requests import EmbeddingsBody, RerankBody
from plugins.openai.vector_shapes import EmbeddingList, Ranking
from plugins.responses.events import ResponseEvent
from plugins.responses.paging import QUERY
from plugins.responses.requests import ResponseBody
from plugins.responses.shapes import Deleted, InputCount, ItemList, ResponseObject
from transports.settings import HttpSettings


def routes(settings: HttpSettings, metrics: Metrics) -> tuple[Route, ...]:
    """All routes. HEAD goes with GET."""
    generator = Generator(strict=settings.strict)
    messenger = Messenger(strict=settings.strict)
    tokenizer = Tokenizer(strict=settings.strict)
    vectorizer = Vectorizer(strict=settings.strict)
    responder = Responder(settings)
    reference = Reference()
    reference.routes = (
        Route(
            "POST",
            "/v1/chat/completions",
            generator.chat,
            "Answer a conversation, whole or streamed.",
            "Text",
            Answer(schema=ChatCompletion, event=ChatChunk),
            Body(schema=ChatBody, example=examples.CHAT, has_pictures=True),
        ),
        Route(
            "POST",
            "/v1/messages",
            messenger.create,
            "Answer a conversation as Anthropic's API does, whole or streamed.",
            "Text",
            Answer(schema=MessageObject, event=Event, error=MessageErrorBody),
            Body(schema=MessagesBody, example=examples.MESSAGES, has_pictures=True),
            dialect=ANTHROPIC,
        ),
        Route(
            "POST",
            "/v1/messages/count_tokens",
            messenger.count_tokens,
            "The tokens of a conversation, as Anthropic's API counts them.",
            "Tokens",
            Answer(schema=TokenCount, error=MessageErrorBody),
            Body(schema=CountBody, example=examples.MESSAGES_COUNT, has_pictures=True),
            dialect=ANTHROPIC,
        ),
        Route(
            "POST",
            "/v1/completions",
            generator.completion,
            "Continue one prompt or up to 32.",
            "Text",
            Answer(schema=Completion, event=CompletionChunk),
            Body(schema=CompletionBody, example=examples.COMPLETION),
        ),
        Route(
            "POST",
            "/v1/responses",
            responder.create,
            "Answer a conversation, whole or streamed, and keep it for the next turn.",
            "Text",
            Answer(schema=ResponseObject, event=ResponseEvent),
            Body(schema=ResponseBody, example=examples.RESPONSE, has_pictures=True),
        ),
        Route(
            "POST",
            "/v1/responses/input_tokens",
            responder.count,
            "How many tokens a request for a response would have.",
            "Text",
            Answer(schema=InputCount),
            Body(schema=ResponseBody, example=examples.RESPONSE, has_pictures=True),
        ),
        Route(
            "GET",
            "/v1/responses/*/input_items",
            responder.input_items,
            "What a response that is kept was asked with.",
            "Text",
            Answer(schema=ItemList),
            query=QUERY,
        ),
        Route(
            "POST",
            "/v1/responses/*/cancel",
            responder.cancel,
            "Refused with a reason: no response is made in the background.",
            "Text",
            Answer(schema=ResponseObject),
        ),
        Route(
            "GET",
            "/v1/responses/*",
            responder.retrieve,
            "A response that is kept.",
            "Text",
            Answer(schema=ResponseObject),
        ),
        Route(
            "DELETE",
            "/v1/responses/*",
            responder.delete,
            "Forget a response.",
            "Text",
            Answer(schema=Deleted),
        ),
        Route(
            "POST",
            "/v1/embeddings",
            vectorizer.embeddings,
            "Make texts vectors.",
            "Embeddings and rerank",
            Answer(schema=EmbeddingList),
            Body(schema=EmbeddingsBody, example=examples.EMBEDDINGS),
        ),
        Route(
            "POST",
            "/v1/rerank",
            vectorizer.rerank,
            "Sort documents by how well they answer a query.",
            "Embeddings and rerank",
            Answer(schema=Ranking),
            Body(schema=RerankBody, example=examples.RERANK),
        ),
        Route(
            "POST",
            "/tokenize",
            tokenizer.tokenize,
            "The tokens of a text or conversation.",
            "Tokens",
            Answer(schema=Tokenized),
            Body(schema=TokenizeBody, example=examples.TOKENIZE),
        ),
        Route(
            "POST",
            "/detokenize",
            tokenizer.detokenize,
            "The text of tokens.",
            "Tokens",
            Answer(schema=Detokenized),
            Body(schema=DetokenizeBody, example=examples.DETOKENIZE),
        ),
        Route(
            "GET",
            "/v1/models",
            info.models,
            "The models that can be asked, and what each takes.",
            "Models",
            Answer(schema=ModelList),
        ),
        Route("GET", "/v1/models/*", info.model, "One model.", "Models", Answer(schema=ListedModel)),
        Route(
            "GET",
            "/health",
            info.health,
            "Whether the HTTP process lives; says nothing of models.",
            "Server",
            Answer(schema=Health),
            access="open",
        ),
        Route(
            "GET",
            "/ready",
            info.ready,
            "Whether the models named at start are loaded.",
            "Server",
            Answer(schema=Ready, other={503: Waiting}),
        ),
        Route(
            "GET",
            "/metrics",
            metrics.answer,
            "Counts and times for Prometheus.",
            "Server",
            Answer(schema=str, media_type="text/plain"),
            access="admin",
        ),
        Route(
            "GET",
            "/openapi.json",
            reference.document,
            "This description of all routes.",
            "Server",
            Answer(schema=dict),
        ),
        Route(
            "GET",
            "/docs",
            reference.page,
            "The same as a page.",
            "Server",
            Answer(schema=str, media_type="text/html"),
        ),
    )
    return tuple(reference.routes)
