"""Random values of every message type, drawn from the types and limits in messages.py."""

from __future__ import annotations

from typing import get_args

import msgspec.inspect
from hypothesis import strategies as st

from transports import loading, messages, reports, vectors
from transports.envelope import Envelope, Message, MessageType

# Message type -> what its body may be.
BODIES: dict[str, tuple[type[Message], ...]] = {
    "hello": (messages.Hello,),
    "welcome": (messages.Welcome,),
    "bye": (messages.Bye,),
    "ping": (messages.Ping,),
    "pong": (messages.Pong,),
    "submit": (
        messages.ChatRequest,
        messages.CompletionRequest,
        vectors.EmbeddingsRequest,
        vectors.RerankRequest,
    ),
    "events": (messages.Events,),
    "progress": (messages.Progress,),
    "failed": (messages.Failed,),
    "cancel": (messages.Cancel,),
    "load": (loading.Load,),
    "ready": (loading.Ready,),
    "unload": (loading.Unload,),
    "drain": (messages.Drain,),
    "admin": (reports.Admin,),
    "reply": (
        reports.StatusReply,
        reports.ModelsReply,
        reports.EnvironmentsReply,
        reports.PluginsReply,
        reports.QueueReply,
        reports.DoneReply,
    ),
}
MESSAGE_TYPES: tuple[str, ...] = get_args(MessageType)
# Enough to show the shape; long ones only take time.
MAX_ITEMS = 3


def values_of(struct: type[Message] | type[Envelope]) -> st.SearchStrategy[Message | Envelope]:
    """Instances of *struct*, within its limits."""
    return _strategy(msgspec.inspect.type_info(struct), depth=0)  # type: ignore[return-value]


def _strategy(type_: msgspec.inspect.Type, depth: int) -> st.SearchStrategy[object]:
    match type_:
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.IntType(ge=ge, le=le):
            return st.integers(-(2**63) if ge is None else ge, 2**63 - 1 if le is None else le)
        case msgspec.inspect.FloatType(ge=ge, gt=gt, le=le):
            least = ge if gt is None else gt
            return st.floats(least, le, exclude_min=gt is not None, allow_nan=False)
        case msgspec.inspect.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=min(most or 30, 30))
        case msgspec.inspect.BytesType(min_length=least, max_length=most):
            return st.binary(min_size=least or 0, max_size=min(most or 8, max(least or 0, 8)))
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([_strategy(one, depth) for one in types])
        case msgspec.inspect.VarTupleType(item_type=item, min_length=least):
            # TokenLogprob holds TokenLogprobs: one level of them is what occurs.
            most = 0 if depth > 2 else MAX_ITEMS
            items = (
                st.lists(_strategy(item, depth + 1), min_size=least or 0, max_size=most)
                if most
                else st.just([])
            )
            return items.map(tuple)
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_strategy(key, depth), _strategy(value, depth), max_size=MAX_ITEMS)
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return st.fixed_dictionaries(
                {field.name: st.deferred(lambda f=field: _strategy(f.type, depth)) for field in fields}
            ).map(lambda given: cls(**given))
        case _:
            raise TypeError(f"messages.py uses a type that has no strategy: {type_}")
