"""`mlxd chat`: a conversation in the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from plugins.cli import session
from plugins.cli.answer import Answer
from plugins.cli.completion import complete_model
from plugins.cli.conversation import CommandError, Conversation
from plugins.cli.exits import complain
from plugins.cli.generation import generation_flags
from plugins.cli.history import history_file
from plugins.cli.progress import ProgressView
from plugins.cli.sanitize import clean_line
from plugins.client import KernelClient, Submission
from transports.config import home
from transports.errors import MlxdError
from transports.reports import Admin, DoneReply

# The index in what termios.tcgetattr returns.
LOCAL_FLAGS = 3


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.option("--system", metavar="TEXT", default="", help="Instructions that go before the conversation.")
@generation_flags
@click.option("--raw", is_flag=True, help="Leave terminal control sequences in the answers.")
def chat(model: str, system: str, raw: bool, **options: object) -> None:
    """Talk with MODEL in the terminal. Starts a kernel for itself when none runs.

    /help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("chat needs a terminal; `mlxd run` reads from a pipe")
    given = {name: value for name, value in options.items() if value not in (None, ())}
    session.run(_chat(Conversation(model, system=system, options=given), is_raw=raw))


async def _chat(conversation: Conversation, *, is_raw: bool) -> None:
    async with session.any_kernel() as client:
        await _load(client, conversation.model)
        click.echo(f"{clean_line(conversation.model)}: /help lists the commands, Ctrl-D leaves.")
        prompt: PromptSession[str] = PromptSession(
            ">>> ",
            history=FileHistory(history_file(home())),
            multiline=True,
            prompt_continuation="... ",
            key_bindings=_keys(),
        )
        while not conversation.is_over:
            try:
                line = await prompt.prompt_async()
            except KeyboardInterrupt:
                # What was typed is dropped, as in a shell.
                continue
            except EOFError:
                return
            if line.startswith("/"):
                await _command(client, conversation, line)
            elif line.strip():
                await _turn(client, conversation, line.strip(), is_raw=is_raw)


async def _command(client: KernelClient, conversation: Conversation, line: str) -> None:
    model = conversation.model
    try:
        if told := conversation.execute(line.strip()):
            click.echo(told)
        if conversation.model != model:
            await _load(client, conversation.model)
    except CommandError as e:
        complain(clean_line(str(e)))
    except MlxdError as e:
        conversation.model = model
        _report(client, e)


async def _turn(client: KernelClient, conversation: Conversation, question: str, *, is_raw: bool) -> None:
    answer = Answer()
    request = conversation.request(question)
    with ProgressView() as view:
        async with client.submit(task="chat", model=conversation.model, body=request) as submission:
            with _stopped_by_ctrl_c(submission), _no_echo():
                try:
                    await answer.read(
                        submission, name=conversation.model, view=view, write=_write, is_raw=is_raw
                    )
                except MlxdError as e:
                    view.close()
                    if answer.text:
                        click.echo()
                    _report(client, e)
                    return
    click.echo()
    conversation.add(question, answer.text)


@contextmanager
def _stopped_by_ctrl_c(submission: Submission) -> Iterator[None]:
    """Ctrl-C ends the answer: the kernel is told, and says that it ended. A second one gives up waiting."""
    task = asyncio.current_task()
    before = signal.getsignal(signal.SIGINT)
    num_pressed = 0

    def on_ctrl_c() -> None:
        nonlocal num_pressed
        num_pressed += 1
        if num_pressed == 1:
            submission.cancel()
        elif task:
            task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, on_ctrl_c)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


@contextmanager
def _no_echo() -> Iterator[None]:
    """What is typed during an answer appears at the next prompt, not in the answer."""
    before = termios.tcgetattr(sys.stdin)
    quiet = list(before)
    quiet[LOCAL_FLAGS] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _load(client: KernelClient, model: str) -> None:
    with ProgressView() as view:
        await client.admin(
            "load", Admin(model=model), DoneReply, lambda progress: view.update(model, progress)
        )


def _report(client: KernelClient, error: MlxdError) -> None:
    """Tell an error and go on, unless nobody is left to talk to."""
    if client.lost.is_set():
        raise error
    complain(clean_line(error.message))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    # Ctrl-J is what Enter is for a program that types: expect, a pasted line.
    @keys.add("enter")
    @keys.add("c-j")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
