"""`python -P -m workers [serve | smoke ... | import-gguf ... | pull ... | grammar-trial]`.

Started by the kernel only; a grammar-trial by a worker.
"""

from __future__ import annotations

import faulthandler
import os
import sys


def main(argv: list[str]) -> int:
    """Run one of the worker's jobs; the exit code."""
    from transports.tether import kill_with_parent  # noqa: PLC0415  # Before anything slow.

    kill_with_parent()
    job, *rest = argv or ["serve"]
    if job == "serve":
        return _serve()
    if job == "smoke":
        from workers.smoke import smoke  # noqa: PLC0415

        return smoke(*rest)
    if job == "import-gguf":
        from workers.gguf.importer import main as import_gguf  # noqa: PLC0415

        return import_gguf(rest)
    if job == "pull":
        from workers.hub.pull import main as pull  # noqa: PLC0415

        return pull(rest)
    if job == "grammar-trial":
        from workers.generation.grammar_trial import main as try_grammars  # noqa: PLC0415

        return try_grammars()
    print(f"workers: expected serve, smoke, import-gguf, pull or grammar-trial, got {job!r}", file=sys.stderr)
    return 2


def _serve() -> int:
    from workers.blas import preload_openblas  # noqa: PLC0415

    # May replace this process by itself; stdin must still be unread.
    preload_openblas(sys.orig_argv)

    # A library that ends the process leaves nothing else: where it was, on stderr.
    faulthandler.enable(all_threads=False)

    from workers.scheduling import yield_to_others  # noqa: PLC0415

    yield_to_others()

    from transports import logs, tether  # noqa: PLC0415
    from transports.errors import MlxdError  # noqa: PLC0415
    from workers.runtime import run  # noqa: PLC0415

    try:
        bootstrap = tether.read_bootstrap(tether.PeerBootstrap)
        tether.die_with_parent(lambda: os._exit(1))
        logs.configure(bootstrap.log_level, bootstrap.log_format, bootstrap.name)
        run(bootstrap)
    except MlxdError as e:
        print(f"mlxd: {e.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to tell, and taking libraries and threads down in order only takes time.
    os._exit(code)
