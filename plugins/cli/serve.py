"""`mlxd serve`: run a kernel with its frontends until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path

import click

from plugins.cli import session
from plugins.cli.completion import complete_model
from plugins.cli.exits import FAILED, complain
from plugins.cli.port import check_port
from plugins.cli.progress import ProgressView
from plugins.cli.sanitize import clean_line
from plugins.cli.startup import wait_until_ready
from plugins.client import KernelClient
from plugins.keys import FILE_NAME
from plugins.launch import KernelProcess
from plugins.packages import check_packages
from transports.config import home, resolve
from transports.errors import MlxdError
from transports.reports import StatusReply
from transports.settings import Settings

QUESTION = "What is the capital of France?"
# Ctrl-C, a service manager, a closed terminal.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("model", nargs=-1, shell_complete=complete_model)
@click.option("--host", metavar="ADDRESS", help="Listen on this address. Setting http.host.")
@click.option("--port", metavar="NUMBER", help="Listen on this port; 0 takes a free one. Setting http.port.")
@click.option("--no-preload", is_flag=True, help="Load no model now; each is loaded by its first request.")
def serve(model: tuple[str, ...], host: str | None, port: str | None, no_preload: bool) -> int:
    """Serve models over HTTP until Ctrl-C.

    Loads each MODEL before it says that it is ready; without MODEL the setting models.default. Other models
    are loaded when they are asked for. The first Ctrl-C lets running requests finish, the second does not.
    """
    if model and no_preload:
        raise click.UsageError("--no-preload and MODEL exclude each other")
    check_packages()
    settings = resolve({"http.host": host, "http.port": port}).settings
    preload = () if no_preload else model or (settings.models.default,)
    if "http" in settings.kernel.frontends:
        check_port(settings.http.host, settings.http.port)
    return session.run(_serve(settings, home(), preload))


async def _serve(settings: Settings, folder: Path, preload: tuple[str, ...]) -> int:
    is_told = settings.log.level == "debug"

    def on_log(line: str) -> None:
        # Until all is ready the progress, or one line of error, says what a person needs to know.
        if is_told:
            view.log(line)

    with ProgressView() as view:
        kernel = await KernelProcess.start(settings, folder, preload=preload, on_log=on_log)
        client = await KernelClient.connect(kernel.connection.endpoint, kernel.connection.token, kind="cli")
        stopper = Stopper(kernel, client)
        stopper.listen()
        ready = asyncio.ensure_future(_tell_when_ready(client, preload, view))
        ended = asyncio.ensure_future(kernel.wait())
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        error = ready.exception() if ready.done() else None
        if error:
            kernel.end()
        else:
            is_told = True
        code = await ended
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
        await client.close()
    if error and not stopper.was_asked:
        raise error
    if stopper.was_asked or code == 0:
        return 0
    complain(f"the kernel ended by itself ({_reason(code)}); {folder / 'logs'} may say why")
    return FAILED


async def _tell_when_ready(client: KernelClient, preload: tuple[str, ...], view: ProgressView) -> None:
    status = await wait_until_ready(client, preload, view)
    view.close()
    for worker in status.workers:
        for note in worker.notes:
            click.echo(f"{clean_line(worker.model)}: {clean_line(note)}", err=True)
    for frontend in status.frontends:
        if frontend.supervised and frontend.state != "ready":
            reason = clean_line(frontend.error or frontend.state)
            click.echo(f"{clean_line(frontend.name)} does not run: {reason}", err=True)
    for line in ready_lines(status, preload, needs_key=(home() / FILE_NAME).exists()):
        click.echo(line)


def ready_lines(status: StatusReply, preload: tuple[str, ...], *, needs_key: bool) -> list[str]:
    """What a person needs to know once all is up: where, and something to try."""
    addresses = [frontend.address for frontend in status.frontends if frontend.address]
    lines = [f"mlxd is ready at {address}" for address in addresses] or ["mlxd is ready"]
    if addresses and preload:
        messages = [{"role": "user", "content": QUESTION}]
        question = {"model": preload[0], "messages": messages, "temperature": 0}
        key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
        lines += [
            "Try it:",
            f"  curl {addresses[0]}/v1/chat/completions -H 'Content-Type: application/json'{key} \\",
            f"    -d {shlex.quote(json.dumps(question))}",
        ]
    return [*lines, "Ctrl-C ends it."]


class Stopper:
    """What Ctrl-C does: the first drains the kernel, the second ends it at once."""

    def __init__(self, kernel: KernelProcess, client: KernelClient) -> None:
        self.was_asked = False
        self._kernel = kernel
        self._client = client
        self._report: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """From now on signals come here."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self.was_asked:
            self._kernel.end()
            return
        self.was_asked = True
        self._kernel.drain()
        self._report = asyncio.ensure_future(self._tell_what_runs())

    async def _tell_what_runs(self) -> None:
        try:
            status = await self._client.status()
        except MlxdError:
            return  # Gone already: there was nothing to finish.
        num_requests = status.num_waiting + sum(worker.num_active for worker in status.workers)
        if num_requests:
            requests = "1 request" if num_requests == 1 else f"{num_requests} requests"
            click.echo(f"Finishing {requests}; Ctrl-C again ends at once.", err=True)


def _reason(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
