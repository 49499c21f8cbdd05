"""A turn of an ACP session: from the blocks of a prompt to the updates of its answer."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plugins.stdio.acp.conversation import Conversation, read_blocks
from plugins.stdio.acp.shapes import Block
from plugins.stdio.connection import Connection
from plugins.stdio.kernel_link import KernelLink
from transports.errors import WorkerError
from transports.messages import ChatMessage, ChatRequest, Delta, Done, Progress, ReasoningDelta
from transports.settings import MediaSettings

if TYPE_CHECKING:
    from plugins.client import KernelClient, Submission
    from plugins.media.intake import MediaIntake
    from plugins.media.picture import Picture, Source

# Ends of an answer as ACP has them.
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "cancelled": "cancelled"}
# Phases of waiting that take long enough to be shown; a queue or a prompt is over soon.
SHOWN_PHASES = {
    "environment": "Preparing the environment of",
    "download": "Downloading",
    "convert": "Converting",
    "start": "Loading",
    "load": "Loading",
}


class Turns:
    """Has models answer, and tells the editor as they do."""

    def __init__(self, connection: Connection, kernel: KernelLink, settings: MediaSettings) -> None:
        self._connection = connection
        self._kernel = kernel
        self._settings = settings
        self._intake: MediaIntake | None = None

    async def run(self, session_id: str, conversation: Conversation, blocks: Sequence[Block]) -> str:
        """Answer a prompt; why the answer ended, in the words of ACP.

        Raises:
            MlxdError: It has no answer.
        """
        parts = read_blocks(blocks)
        client = await self._kernel.client()
        found = await self._pictures(client, conversation.model, parts)
        pictures = [picture for group in found for picture in group]
        question = conversation.question(parts, [len(group) for group in found])
        text: list[str] = []
        try:
            async with _submitted(client, conversation, question, pictures) as submission:
                return await self._answer(session_id, conversation.model, submission, text)
        finally:
            if text:
                conversation.add(question, pictures, "".join(text))

    async def close(self) -> None:
        """End the processes that decode pictures."""
        if self._intake:
            await self._intake.close()

    async def _pictures(
        self, client: KernelClient, model: str, parts: Sequence[str | Source]
    ) -> list[list[Picture]]:
        from plugins.image_models import check_takes_images  # noqa: PLC0415
        from plugins.media.intake import MediaIntake  # noqa: PLC0415

        sources = [part for part in parts if not isinstance(part, str)]
        if not sources:
            return []
        await check_takes_images(client, model, sources[0].path)
        if self._intake is None:
            # Pixels stay here: later turns show them again.
            self._intake = MediaIntake(self._settings, "")
        return await self._intake.pictures(sources)

    async def _answer(self, session_id: str, model: str, submission: Submission, text: list[str]) -> str:
        wait = _Wait(self, session_id, model)
        try:
            async for update in submission:
                match update:
                    case Progress():
                        await wait.on(update)
                    case Delta() if update.text:
                        await wait.over("completed")
                        text.append(update.text)
                        await self.tell(session_id, "agent_message_chunk", content=_text(update.text))
                    case ReasoningDelta():
                        await wait.over("completed")
                        await self.tell(session_id, "agent_thought_chunk", content=_text(update.text))
                    case Done():
                        await wait.over("completed")
                        return STOP_REASONS.get(update.finish_reason, "end_turn")
        except BaseException:
            await wait.over("failed")
            raise
        raise WorkerError("the answer ended without an end")

    async def tell(self, session_id: str, update_kind: str, **fields: object) -> None:
        """Send an update of a session."""
        update = {"sessionUpdate": update_kind, **fields}
        await self._connection.stream("session/update", {"sessionId": session_id, "update": update})


class _Wait:
    """Shows as a tool call that a model is being loaded: minutes of silence look like a hang."""

    def __init__(self, turns: Turns, session_id: str, model: str) -> None:
        self._turns = turns
        self._session_id = session_id
        self._model = model
        self._call_id = ""
        self._title = ""

    async def on(self, progress: Progress) -> None:
        """Say what is waited for, where that is new."""
        if progress.phase not in SHOWN_PHASES:
            return
        title = f"{SHOWN_PHASES[progress.phase]} {self._model}"
        if title == self._title:
            return
        kind = "tool_call_update" if self._call_id else "tool_call"
        self._call_id = self._call_id or f"load-{secrets.token_hex(8)}"
        self._title = title
        await self._turns.tell(
            self._session_id, kind, toolCallId=self._call_id, title=title, kind="other", status="in_progress"
        )

    async def over(self, status: str) -> None:
        """It is no longer waited for."""
        if self._call_id:
            call_id, self._call_id = self._call_id, ""
            await self._turns.tell(self._session_id, "tool_call_update", toolCallId=call_id, status=status)


def _submitted(
    client: KernelClient, conversation: Conversation, question: ChatMessage, pictures: Sequence[Picture]
) -> Submission:
    from plugins.packing import pack_for  # noqa: PLC0415

    packed = pack_for(client, [*conversation.pictures, *pictures])
    body = ChatRequest(messages=(*conversation.messages, question), images=packed.images)
    return client.submit(task="chat", model=conversation.model, body=body, buffers=packed.buffers)


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
