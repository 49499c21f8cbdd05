"""Has a model write what belongs at a cursor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plugins.stdio.lsp.cursor import Cursor
from plugins.stdio.lsp.offers import offered
from transports.errors import ContextLengthExceeded, TaskNotSupported
from transports.messages import CompletionRequest, Delta, Done, Progress, Sampling

if TYPE_CHECKING:
    from plugins.client import KernelClient
    from plugins.stdio.kernel_link import KernelLink
    from plugins.stdio.lsp.loading import Loading

# The likeliest text, and the same for the same place.
_GREEDY = Sampling(temperature=0)
# With less before the cursor a model has nothing to go on from.
_MIN_CHARS_BEFORE = 200


class Asker:
    """Asks for the middle, or, of a model that cannot fill it in, to go on from what comes before.

    Args:
        kernel: Where requests go.
        loading: Is told of models that are being loaded.
    """

    def __init__(self, kernel: KernelLink, loading: Loading) -> None:
        self._kernel = kernel
        self._loading = loading
        # Models that cannot fill in the middle.
        self._plain: set[str] = set()

    async def offer(self, model: str, cursor: Cursor, max_tokens: int) -> str:
        """What to put at the cursor; "" for nothing.

        Raises:
            MlxdError: The request failed.
        """
        client = await self._kernel.client()
        while True:
            fills_middle = model not in self._plain
            if not fills_middle and not cursor.before.strip():
                return ""
            request = CompletionRequest(
                prompt=cursor.before,
                suffix=cursor.after if fills_middle else None,
                stop=cursor.stops,
                max_tokens=max_tokens,
                sampling=_GREEDY,
            )
            try:
                answer = await self._answer(client, model, request)
            except TaskNotSupported as e:
                if not fills_middle or e.param != "suffix":
                    raise
                self._plain.add(model)
            except ContextLengthExceeded:
                # A middle is cut by the worker; here we do not know how many tokens it would be.
                if fills_middle or len(cursor.before) < 2 * _MIN_CHARS_BEFORE:
                    raise
                cursor = replace(cursor, before=cursor.before[len(cursor.before) // 2 :])
            else:
                return offered(answer, cursor, has_seen_after=fills_middle)

    async def _answer(self, client: KernelClient, model: str, request: CompletionRequest) -> str:
        # An editor's start must not wait for it; the client is there by now.
        from plugins.submission import not_cancelled  # noqa: PLC0415

        texts: list[str] = []
        async with client.submit(task="completion", model=model, body=request) as submission:
            async for update in submission:
                match update:
                    case Delta():
                        texts.append(update.text)
                    case Progress():
                        self._loading.show(client, model, update.phase)
                    case Done():
                        # Not by us: then nobody would be here.
                        not_cancelled(update)
        return "".join(texts)
