"""The official SDK of the Agent Client Protocol as the editor."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_harness import MLXD, environment, serving_echoes
from PIL import Image
from running import EMBEDDING_MODEL

acp = pytest.importorskip("acp", reason="agent-client-protocol is not installed")

TIMEOUT_S = 20.0
ENDLESS = " ".join(map(str, range(20_000)))


class Editor(acp.Client):
    """Keeps the updates, and wakes who waits for one."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.changed = asyncio.Condition()

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        async with self.changed:
            self.updates.append(update)
            self.changed.notify_all()

    async def wait_for_text(self) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.text)

    @property
    def text(self) -> str:
        return "".join(
            update.content.text for update in self.updates if update.session_update == "agent_message_chunk"
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An MLXD_HOME whose kernel runs as long as the module."""
    with serving_echoes(tmp_path_factory.mktemp("acp")) as home:
        yield home


@asynccontextmanager
async def agent(home: Path, model: str, *flags: str) -> AsyncIterator[tuple[Any, Editor, Any]]:
    """The connection, the editor and the process, after `initialize`."""
    editor = Editor()
    settings = environment(home, MLXD_MODELS_DEFAULT=model)
    async with (
        asyncio.timeout(TIMEOUT_S),
        acp.spawn_agent_process(editor, MLXD, "stdio", *flags, env=settings) as (connection, process),
    ):
        await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
        yield connection, editor, process


async def test_a_prompt_is_answered_in_updates(served: Path) -> None:
    async with agent(served, "echo/plain") as (connection, editor, _):
        session = await connection.new_session(cwd="/", mcp_servers=[])
        done = await connection.prompt(session_id=session.session_id, prompt=[acp.text_block("one two é 🙂")])

    assert "end_turn" == done.stop_reason
    assert "one two é 🙂" == editor.text


async def test_what_is_said_first_tells_the_protocol(served: Path) -> None:
    editor = Editor()
    async with (
        asyncio.timeout(TIMEOUT_S),
        acp.spawn_agent_process(editor, MLXD, "stdio", "--acp", env=environment(served)) as (connection, _),
    ):
        said = await connection.initialize(protocol_version=7)

    assert 1 == said.protocol_version
    assert said.agent_capabilities.prompt_capabilities.image
    assert "mlxd" == said.agent_info.name


async def test_an_answer_can_be_stopped_and_the_session_goes_on(served: Path) -> None:
    async with agent(served, "echo/narrow") as (connection, editor, _):
        session_id = (await connection.new_session(cwd="/", mcp_servers=[])).session_id
        prompt = asyncio.create_task(
            connection.prompt(session_id=session_id, prompt=[acp.text_block(ENDLESS)])
        )
        await editor.wait_for_text()
        await connection.cancel(session_id=session_id)
        stopped = await prompt
        editor.updates.clear()
        # The model has one slot.
        done = await connection.prompt(session_id=session_id, prompt=[acp.text_block("and now")])

    assert ("cancelled", "end_turn") == (stopped.stop_reason, done.stop_reason)
    assert "and now" == editor.text


async def test_pictures_and_files_come_with_a_prompt(served: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (3, 2), "#ff0000").save(content, "PNG")
    image = acp.image_block(base64.b64encode(content.getvalue()).decode(), "image/png")
    file = acp.resource_block(acp.embedded_text_resource("file:///a.py", "x = 1"))
    async with agent(served, "echo/eyes") as (connection, editor, _):
        session_id = (await connection.new_session(cwd="/", mcp_servers=[])).session_id
        await connection.prompt(session_id=session_id, prompt=[acp.text_block("look"), image, file])
        first = editor.text
        editor.updates.clear()
        await connection.prompt(session_id=session_id, prompt=[image, acp.text_block("again")])

    assert "3x2:ff0000-ff0000" in first
    assert "file:///a.py" in first
    assert "x = 1" in first
    assert "3x2:ff0000-ff0000 again" == editor.text


async def test_the_model_is_a_choice_of_the_session(served: Path) -> None:
    async with agent(served, "echo/plain") as (connection, _, _process):
        session = await connection.new_session(cwd="/", mcp_servers=[])
        changed = await connection.set_config_option(
            config_id="model", session_id=session.session_id, value="echo/slow"
        )

    (option,) = session.config_options
    offered = {choice.value for choice in option.options}
    assert "echo/plain" == option.current_value
    assert {"echo/plain", "echo/slow"} <= offered
    # It makes vectors of texts, and cannot chat.
    assert EMBEDDING_MODEL not in offered
    assert "echo/slow" == changed.config_options[0].current_value


async def test_errors_have_their_codes(served: Path) -> None:
    async with agent(served, "no/such") as (connection, _, _process):
        session_id = (await connection.new_session(cwd="/", mcp_servers=[])).session_id
        with pytest.raises(acp.RequestError) as unknown_model:
            await connection.prompt(session_id=session_id, prompt=[acp.text_block("hi")])
        with pytest.raises(acp.RequestError) as unknown_session:
            await connection.prompt(session_id="nobody's", prompt=[acp.text_block("hi")])
        with pytest.raises(acp.RequestError) as unsupported:
            await connection.load_session(cwd="/", session_id=session_id, mcp_servers=[])

    assert "model_not_found" == unknown_model.value.data["code"]
    assert [-32602, -32601] == [unknown_session.value.code, unsupported.value.code]
