"""OpenAI's Responses API: requests, items, answers and what is kept of them. Knows no HTTP."""
