"""What the probes of Python clients share. They run in the client's own environment, with nothing of ours.

`python PROBE URL PICTURE`: it asks a running mlxd, and fails at the first thing that is not as it should be.
"""

from __future__ import annotations

import base64
import re
import sys
import time
import urllib.request
from pathlib import Path

URL = sys.argv[1]
TEXT, VISION, SCRIPTED, SLOW = "demo/smollm2-135m", "demo/tiny-vl", "scripted/client", "echo/slow"
PICTURE = f"data:image/png;base64,{base64.b64encode(Path(sys.argv[2]).read_bytes()).decode()}"

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
CITY = [{"role": "user", "content": "Paris is the capital of France. Give name and country."}]
TOO_LONG = [{"role": "user", "content": "word " * 9000}]
LOOK = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What color is the circle?"},
            {"type": "image_url", "image_url": {"url": PICTURE}},
        ],
    }
]
THINKS_AND_CALLS = [{"role": "user", "content": "What is magic_function(3)? Think first."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "magic_function",
            "parameters": {"type": "object", "properties": {"input": {"type": "integer"}}},
        },
    }
]
# An answer of some seconds, which is left.
LONG = [{"role": "user", "content": "word " * 2000}]


def wait_until_idle(limit_s: float = 2.0) -> None:
    """Wait until nobody is answered but whoever asks for this."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with urllib.request.urlopen(f"{URL}/metrics") as response:  # noqa: S310  # http, ours
            metrics = response.read().decode()
        if float(re.findall(r"^mlxd_http_requests_active (\S+)", metrics, re.MULTILINE)[0]) <= 1:
            return
        time.sleep(0.05)
    raise AssertionError("an answer that nobody reads goes on")
