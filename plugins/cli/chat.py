"""`mlxd chat`: a conversation in the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from plugins.cli import session
from plugins.cli.answer import Answer
from plugins.cli.attachments import media_flags
from plugins.cli.chat_pictures import ChatPictures
from plugins.cli.completion import complete_model
from plugins.cli.conversation import PICTURE_COMMANDS, CommandError, Conversation
from plugins.cli.exits import complain
from plugins.cli.generation import generation_flags
from plugins.cli.history import history_file
from plugins.cli.keep_alive import keep_alive_flag
from plugins.cli.pictures import Named, submit
from plugins.cli.progress import ProgressView
from plugins.cli.queue_flags import queue_flags
from plugins.cli.sanitize import clean_line
from plugins.cli.thoughts import ThoughtView
from plugins.client import KernelClient, Submission
from plugins.submit_terms import PRIORITIES, SubmitTerms
from plugins.thinking_models import check_thinks
from transports.config import home
from transports.errors import MlxdError

# The index in what termios.tcgetattr returns.
LOCAL_FLAGS = 3


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.option("--system", metavar="TEXT", default="", help="Instructions that go before the conversation.")
@media_flags
@generation_flags
@queue_flags
@keep_alive_flag
@click.option("--raw", is_flag=True, help="Leave terminal control sequences in the answers.")
def chat(
    model: str,
    system: str,
    image: tuple[str, ...],
    pdf: tuple[str, ...],
    pages: str,
    priority: str | None,
    queue_timeout_s: float,
    keep_alive: float | None,
    raw: bool,
    **options: object,
) -> None:
    """Talk with MODEL in the terminal. Starts a kernel for itself when none runs.

    /help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("chat needs a terminal; `mlxd run` reads from a pipe")
    given = {name: value for name, value in options.items() if value not in (None, ())}
    conversation = Conversation(model, system=system, options=given)
    terms = SubmitTerms(PRIORITIES[priority or "normal"], queue_timeout_s, keep_alive)
    session.run(_chat(conversation, Named(image, pdf, pages), terms, is_raw=raw))


async def _chat(conversation: Conversation, named: Named, terms: SubmitTerms, *, is_raw: bool) -> None:
    async with session.any_kernel() as client, AsyncExitStack() as stack:
        pictures = ChatPictures(client, conversation, stack)
        attached = await pictures.attach(named) if named else ""
        await session.load(client, conversation.model, terms.keep_alive_s)
        click.echo(f"{clean_line(conversation.model)}: /help lists the commands, Ctrl-D leaves.")
        if attached:
            click.echo(clean_line(attached))
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
            if conversation.is_command(line):
                await _command(client, conversation, pictures, line.strip())
            elif line.strip():
                await _message(client, conversation, pictures, line.strip(), terms, is_raw=is_raw)


async def _command(
    client: KernelClient, conversation: Conversation, pictures: ChatPictures, line: str
) -> None:
    model = conversation.model
    try:
        if line.split(maxsplit=1)[0] in PICTURE_COMMANDS:
            click.echo(clean_line(await pictures.command(line)))
        elif told := conversation.execute(line):
            click.echo(told)
        if conversation.model != model:
            await session.load(client, conversation.model)
    except CommandError as e:
        complain(clean_line(str(e)))
    except MlxdError as e:
        conversation.model = model
        _report(client, e)


async def _message(
    client: KernelClient,
    conversation: Conversation,
    pictures: ChatPictures,
    line: str,
    terms: SubmitTerms,
    *,
    is_raw: bool,
) -> None:
    """A question, with the pictures whose paths stand in it; a path alone is kept for the next one."""
    answer = Answer()
    try:
        question, told = await pictures.take_out(line)
        if told:
            click.echo(clean_line(told))
        if not question:
            return
        await _turn(client, conversation, question, answer, terms, is_raw=is_raw)
    except CommandError as e:
        complain(clean_line(str(e)))
    except MlxdError as e:
        if answer.text:
            click.echo()
        _report(client, e)


async def _turn(
    client: KernelClient,
    conversation: Conversation,
    question: str,
    answer: Answer,
    terms: SubmitTerms,
    *,
    is_raw: bool,
) -> None:
    model, request = conversation.model, conversation.request(question)
    await check_thinks(client, model, request)
    with ProgressView() as view:
        async with submit(client, model, request, conversation.pictures, terms) as submission:
            with _stopped_by_ctrl_c(submission), _no_echo():
                await answer.read(
                    submission, name=model, view=view, thoughts=ThoughtView(), write=_write, is_raw=is_raw
                )
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
