"""`mlxd run`: one prompt, and the answer alone on stdout; or one prompt about each of many files."""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from plugins.cli import session
from plugins.cli.answer import Answer
from plugins.cli.attachments import media_flags
from plugins.cli.completion import complete_model
from plugins.cli.generation import chat_request, generation_flags
from plugins.cli.keep_alive import keep_alive_flag
from plugins.cli.output import print_json
from plugins.cli.pictures import Named, submitted
from plugins.cli.progress import ProgressView
from plugins.cli.queue_flags import queue_flags
from plugins.cli.thoughts import ThoughtView
from plugins.submit_terms import PRIORITIES, SubmitTerms
from transports.messages import ChatMessage, ChatRequest

# Silence on stdin for so long, seconds, and a person may wonder what we wait for.
STDIN_NOTICE_S = 2.0
# Files at a time: more than one fills a batch; each holds a picture in memory.
CONCURRENCY = 4
MAX_CONCURRENCY = 64


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.argument("prompt", required=False)
@click.option("--system", metavar="TEXT", help="Instructions that go before the prompt.")
@click.option(
    "--prompt-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the prompt from a file.",
)
@media_flags
@click.option(
    "--each",
    multiple=True,
    metavar="PATTERN",
    help="Ask about each of these files, such as 'inbox/*.png', or of a folder. Takes --out.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the results of --each go: JSON lines.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    default=CONCURRENCY,
    show_default=True,
    help="Files of --each at a time.",
)
@generation_flags
@queue_flags
@keep_alive_flag
@click.option("--raw", is_flag=True, help="Leave terminal control sequences in the answer.")
@click.option("--json", "as_json", is_flag=True, help="Print answer, usage and timings as one JSON object.")
def run(
    model: str,
    prompt: str | None,
    system: str | None,
    prompt_file: Path | None,
    image: tuple[str, ...],
    pdf: tuple[str, ...],
    pages: str,
    each: tuple[str, ...],
    out: Path | None,
    concurrency: int,
    priority: str | None,
    queue_timeout_s: float,
    keep_alive: float | None,
    raw: bool,
    as_json: bool,
    **options: object,
) -> int:
    """Answer one PROMPT with MODEL.

    The prompt may come from stdin or a file; stdin goes first, then the file, then PROMPT. Starts a kernel
    for itself when none runs. Waiting and errors are told on stderr.

    \b
      mlxd run demo/smollm2-135m "What is the capital of France?"
      git diff | mlxd run demo/smollm2-135m "Describe this change."
      mlxd run demo/tiny-vl "What color is the circle?" --image picture.png
      mlxd run MODEL --prompt-file ask.txt --each 'inbox/*.png' --out results.jsonl
    """
    if out and not each:
        raise click.UsageError("--out is for the results of --each")
    if each and (image or pdf or raw or as_json or out is None):
        raise click.UsageError("--each takes --out and --pages, and no --image, --pdf, --raw or --json")
    from_file = _read_prompt(prompt_file)
    from_stdin = _read_stdin() if not each and not sys.stdin.isatty() else None
    question = join_prompt(from_stdin, from_file, prompt)
    if not question:
        raise click.UsageError("no prompt: give one as an argument, with --prompt-file or on stdin")
    if not all(_is_utf8(text) for text in (question, system or "")):
        raise click.UsageError("the prompt is not UTF-8 text")
    messages = [ChatMessage(role="user", content=question)]
    if system:
        messages.insert(0, ChatMessage(role="system", content=system))
    given = {name: value for name, value in options.items() if value is not None}
    request = chat_request(tuple(messages), given)
    if out:
        # Nobody waits for each answer of a batch: whoever does goes before it.
        terms = SubmitTerms(PRIORITIES[priority or "low"], queue_timeout_s, keep_alive)
        return _batch(model, request, pages, each, out, concurrency, terms)
    terms = SubmitTerms(PRIORITIES[priority or "normal"], queue_timeout_s, keep_alive)
    session.run(_answer(model, request, Named(image, pdf, pages), terms, is_raw=raw, as_json=as_json))
    return 0


def join_prompt(*parts: str | None) -> str:
    """The prompt from its sources: what is piped in first, then what to do with it."""
    *first, last = parts
    return "\n\n".join(part for part in (*((text or "").strip("\n") for text in first), last) if part)


def _batch(
    model: str,
    request: ChatRequest,
    pages: str,
    patterns: Sequence[str],
    out: Path,
    concurrency: int,
    terms: SubmitTerms,
) -> int:
    from plugins.cli.batch import Plan, run_batch  # noqa: PLC0415  # Not for a single answer.
    from plugins.cli.batch_files import expand  # noqa: PLC0415

    files = expand(patterns, out)
    if not files:
        raise click.UsageError(f"--each: no file matches {', '.join(patterns)}")
    return run_batch(
        Plan(
            model=model,
            request=request,
            pages=pages,
            files=files,
            out=out,
            concurrency=concurrency,
            terms=terms,
        )
    )


def _read_stdin() -> str:
    if not select.select([sys.stdin], [], [], STDIN_NOTICE_S)[0]:
        click.echo("reading the prompt from stdin (`< /dev/null` for none)", err=True)
    return _decoded(sys.stdin.buffer.read(), "stdin")


def _read_prompt(file: Path | None) -> str:
    return _decoded(file.read_bytes(), str(file)) if file else ""


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as e:
        raise click.UsageError(f"{name} is not UTF-8 text (byte {e.start})") from None


async def _answer(
    model: str,
    request: ChatRequest,
    named: Named,
    terms: SubmitTerms,
    *,
    is_raw: bool,
    as_json: bool,
) -> None:
    answer = Answer()
    with ProgressView() as view:
        async with (
            session.any_kernel() as client,
            submitted(client, model, request, named, terms) as updates,
        ):
            try:
                await answer.read(
                    updates,
                    name=model,
                    view=view,
                    thoughts=None if as_json else ThoughtView(),
                    write=_ignore if as_json else _write,
                    is_raw=is_raw,
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
