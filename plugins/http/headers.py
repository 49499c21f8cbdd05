"""What the headers of every answer say."""

from __future__ import annotations

ALWAYS = {
    # aiohttp would name its version and Python's, to strangers too.
    "Server": "mlxd",
    # A browser takes it for nothing else than it is called: errors repeat what was asked.
    "X-Content-Type-Options": "nosniff",
    # Whoever asks next may have another key, or none; a cache between does not look at x-api-key.
    "Cache-Control": "no-store",
}
