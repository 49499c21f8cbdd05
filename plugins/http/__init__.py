"""The HTTP frontend, on aiohttp: the routes of OpenAI's and Anthropic's APIs, and our own."""
