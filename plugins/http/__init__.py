"""The HTTP frontend: OpenAI's API on aiohttp."""
