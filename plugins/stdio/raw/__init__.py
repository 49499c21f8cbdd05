"""The raw personality: OpenAI's request bodies as methods of JSON-RPC."""
