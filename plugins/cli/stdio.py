"""`mlxd stdio`: speak with an editor over stdin and stdout."""

from __future__ import annotations

import asyncio

import click

from plugins.stdio.pipes import claim_stdout
from plugins.stdio.session import Session
from transports.config import home, resolve


@click.command()
@click.option("--raw", "personality", flag_value="raw", help="Speak the methods of docs/editors.md.")
@click.option("--lsp", "personality", flag_value="lsp", help="Speak LSP: completions at the cursor.")
@click.option("--acp", "personality", flag_value="acp", help="Speak ACP: chat with a model as an agent.")
def stdio(personality: str | None) -> int:
    """Speak JSON-RPC 2.0 with an editor over stdin and stdout.

    What the editor speaks is told from its first message; a flag insists on it. Takes the running kernel, or
    starts one for itself. Nothing but messages goes to stdout.
    """
    out_fd = claim_stdout()
    session = Session(resolve().settings, home(), personality or "")
    return asyncio.run(session.run(0, out_fd))
