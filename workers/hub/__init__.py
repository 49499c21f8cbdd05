"""Brings models from a Hugging Face hub; runs in the text environment, a process a pull."""
