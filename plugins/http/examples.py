"""One body for each route that takes one, as /openapi.json and the page of it show it."""

from __future__ import annotations

CHAT = {
    "model": "demo/smollm2-135m",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
MESSAGES = {**CHAT, "max_tokens": 64}
MESSAGES_COUNT = CHAT
RESPONSE = {"model": "demo/smollm2-135m", "input": "What is the capital of France?"}
COMPLETION = {"model": "demo/smollm2-135m", "prompt": "Once upon a time", "max_tokens": 32}
EMBEDDINGS = {"model": "demo/all-minilm-l6-v2", "input": ["A cat.", "A dog."]}
RERANK = {
    "model": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "query": "Which animal purrs?",
    "documents": ["A dog barks.", "A cat purrs."],
}
TOKENIZE = {"model": "demo/smollm2-135m", "content": "Hello world"}
DETOKENIZE = {"model": "demo/smollm2-135m", "tokens": [19556, 905]}
