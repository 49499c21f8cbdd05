"""mlx-lm alone, in the text worker's environment: decodes what stdin asks for and tells the rate.

A line in: {"prompts": [[token, ...], ...], "tokens": N}. A line out: tokens a second by the wall: of the
decode steps for one prompt (stream_generate), of the whole run for several (BatchGenerator); for one prompt
and one token, of the prompt (stream_generate up to that token).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine_decode import library_batch, library_read, library_stream
from mlx_lm.utils import load_tokenizer

from workers.generation import cpu_activations, cpu_attention
from workers.text.loading import load


def main(folder: Path) -> None:
    """Answer until stdin ends."""
    # What the worker has in the place of mlx's own is no part of the library.
    cpu_attention.install = cpu_activations.install = lambda device: None
    # The worker's own loader: the same weights in the same dtype as behind HTTP.
    model = load(folder, {}, lambda progress: None)._loaded.model
    tokenizer = load_tokenizer(folder)
    print("loaded", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        prompts, tokens = order["prompts"], order["tokens"]
        if len(prompts) == 1 and tokens == 1:
            result = library_read(model, tokenizer, prompts[0])
        elif len(prompts) == 1:
            result = library_stream(model, tokenizer, prompts[0], tokens)
        else:
            result = library_batch(model, prompts, tokens)
        print(result.wall, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
