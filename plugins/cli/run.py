"""`mlxd run`: one prompt, and the answer alone on stdout."""

from __future__ import annotations

import select
import sys

import click

from plugins.cli import session
from plugins.cli.answer import Answer
from plugins.cli.completion import complete_model
from plugins.cli.generation import chat_request, generation_flags
from plugins.cli.output import print_json
from plugins.cli.progress import ProgressView
from transports.messages import ChatMessage, ChatRequest

# Silence on stdin for so long, seconds, and a person may wonder what we wait for.
STDIN_NOTICE_S = 2.0


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.argument("prompt", required=False)
@click.option("--system", metavar="TEXT", help="Instructions that go before the prompt.")
@generation_flags
@click.option("--raw", is_flag=True, help="Leave terminal control sequences in the answer.")
@click.option("--json", "as_json", is_flag=True, help="Print answer, usage and timings as one JSON object.")
def run(
    model: str, prompt: str | None, system: str | None, raw: bool, as_json: bool, **options: object
) -> None:
    """Answer one PROMPT with MODEL.

    The prompt may come from stdin; with both, stdin goes first and PROMPT after it. Starts a kernel for
    itself when none runs. Waiting and errors are told on stderr.

    \b
      mlxd run demo/smollm2-135m "What is the capital of France?"
      git diff | mlxd run demo/smollm2-135m "Describe this change."
    """
    question = join_prompt(prompt, None if sys.stdin.isatty() else _read_stdin())
    if not question:
        raise click.UsageError("no prompt: give one as an argument or on stdin")
    if not all(_is_utf8(text) for text in (question, system or "")):
        raise click.UsageError("the prompt is not UTF-8 text")
    messages = [ChatMessage(role="user", content=question)]
    if system:
        messages.insert(0, ChatMessage(role="system", content=system))
    given = {name: value for name, value in options.items() if value is not None}
    request = chat_request(tuple(messages), given)
    session.run(_answer(model, request, is_raw=raw, as_json=as_json))


def join_prompt(argument: str | None, stdin: str | None) -> str:
    """The prompt from its two sources: what is piped in first, then what to do with it."""
    return "\n\n".join(part for part in ((stdin or "").strip("\n"), argument) if part)


def _read_stdin() -> str:
    if not select.select([sys.stdin], [], [], STDIN_NOTICE_S)[0]:
        click.echo("reading the prompt from stdin (`< /dev/null` for none)", err=True)
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as e:
        raise click.UsageError(f"stdin is not UTF-8 text (byte {e.start})") from None


async def _answer(model: str, request: ChatRequest, *, is_raw: bool, as_json: bool) -> None:
    answer = Answer()
    with ProgressView() as view:
        async with (
            session.any_kernel() as client,
            client.submit(task="chat", model=model, body=request) as updates,
        ):
            try:
                await answer.read(
                    updates, name=model, view=view, write=_ignore if as_json else _write, is_raw=is_raw
                )
            finally:
                if not as_json and answer.text and not answer.text.endswith("\n"):
                    _write("\n")
    if as_json and answer.done:
        done = answer.done
        print_json(
            {
                "model": model,
                "text": answer.text,
                "finish_reason": done.finish_reason,
                "usage": done.usage,
                "timings": done.timings,
            }
        )


def _is_utf8(text: str) -> bool:
    """False for an argument with bytes that Python had to keep as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _ignore(text: str) -> None:
    pass
