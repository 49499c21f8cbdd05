"""Chat templates with the default model's tokenizer: JSON lines in, what comes of each out."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from mlx_lm.utils import load_tokenizer

from transports.errors import MlxdError
from transports.messages import ChatMessage
from workers.generation.loading import keep_off
from workers.generation.prompts import Prompts


def main() -> None:
    """A line: {"template": ..., "content": ...}."""
    keep_off(wired_limit=False)
    tokenizer = load_tokenizer(Path(sys.argv[1]), {"trust_remote_code": False})
    for line in sys.stdin:
        asked = json.loads(line)
        tokenizer.chat_template = asked["template"]
        prompts = Prompts(tokenizer, 50_000, 1_000_000)
        said = {"text": "", "error": ""}
        started = time.monotonic()
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            tokens = prompts.chat([ChatMessage(role="user", content=asked["content"])])
            said["text"] = tokenizer.decode(tokens)
        except MlxdError as e:
            said["error"] = e.message
        said["seconds"] = time.monotonic() - started
        said["grown_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
