"""`mlxd keys`: the API keys. They are in force at once, whether a kernel runs or not."""

from __future__ import annotations

import time
from pathlib import Path

import click

from plugins.cli.completion import complete_model
from plugins.cli.output import print_json, print_table
from plugins.keys import FILE_NAME, MAX_KEYS, NAME, Key, change_keys, digest_of, new_secret, read_keys
from plugins.submit_terms import PRIORITIES
from transports.config import home

_WORDS = {number: word for word, number in PRIORITIES.items()}
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    With the first key nobody is answered over HTTP without one, on this machine too.
    """


def _check_name(ctx: click.Context, param: click.Parameter, name: str) -> str:
    if not NAME.fullmatch(name):
        raise click.BadParameter("expected up to 40 letters, digits, dots, hyphens, underscores", ctx, param)
    return name


@keys.command()
@click.argument("name", callback=_check_name)
@click.option("--admin", is_flag=True, help="It may also read /metrics and what administrates.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_model,
    help="Only this model, by this name; may be given several times.",
)
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES)),
    default="high",
    help="The highest priority that its requests may have.",
)
@click.option(
    "--rate",
    type=click.IntRange(0, 1_000_000),
    default=0,
    metavar="NUMBER",
    help="Requests in a minute; 0 is no limit.",
)
def new(name: str, admin: bool, models: tuple[str, ...], priority: str, rate: int) -> None:
    """Make a key and print it: it is shown this once and kept nowhere.

    NAME says whose it is: letters, digits, dot, hyphen and underscore.
    """
    secret = new_secret()
    key = Key(
        name=name,
        digest=digest_of(secret),
        created=int(time.time()),
        scope="admin" if admin else "use",
        models=models,
        max_priority=PRIORITIES[priority],
        max_requests_per_minute=rate,
    )

    def add(known: tuple[Key, ...]) -> tuple[Key, ...]:
        if any(one.name == name for one in known):
            raise click.UsageError(f"{name}: there is such a key; revoke it, or choose another name")
        if len(known) == MAX_KEYS:
            raise click.UsageError(f"there are {MAX_KEYS} keys, the most that can be; revoke some")
        return (*known, key)

    change_keys(home() / FILE_NAME, add)
    click.echo(secret)
    click.echo("Keep it: it is not shown again. Clients send it as Authorization: Bearer KEY.", err=True)


@keys.command("list")
@_json
def list_keys(as_json: bool) -> None:
    """List the keys, and what each may do; never the keys themselves."""
    path = home() / FILE_NAME
    known = read_keys(path)
    if as_json:
        print_json([_plain(key) for key in known or ()])
        return
    if not known:
        _tell_of_none(path, is_needed=known is not None)
        return
    print_table(("NAME", "SCOPE", "MODELS", "PRIORITY", "RATE", "MADE"), map(_row, known), folded="MODELS")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Make the key NAME worthless, at once."""
    left: list[Key] = []

    def drop(known: tuple[Key, ...]) -> tuple[Key, ...]:
        left.extend(key for key in known if key.name != name)
        if len(left) == len(known):
            raise click.UsageError(f"{name}: no such key; `mlxd keys list` shows those there are")
        return tuple(left)

    path = home() / FILE_NAME
    change_keys(path, drop)
    click.echo(f"Revoked {name}.", err=True)
    if not left:
        _tell_of_none(path, is_needed=True)


def _tell_of_none(path: Path, *, is_needed: bool) -> None:
    if is_needed:
        click.echo(f"No key is left, so nobody is answered; without {path} none is needed.", err=True)
    else:
        click.echo("There is no key, and on this machine none is needed; a network needs one.", err=True)


def _plain(key: Key) -> dict[str, object]:
    return {
        "name": key.name,
        "scope": key.scope,
        "models": key.models,
        "max_priority": _WORDS[key.max_priority],
        "max_requests_per_minute": key.max_requests_per_minute,
        "created": key.created,
    }


def _row(key: Key) -> tuple[str, ...]:
    return (
        key.name,
        key.scope,
        ", ".join(key.models) or "all",
        _WORDS[key.max_priority],
        f"{key.max_requests_per_minute}/min" if key.max_requests_per_minute else "-",
        time.strftime("%Y-%m-%d", time.localtime(key.created)),
    )
