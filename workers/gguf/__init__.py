"""Imports GGUF files: a llama- or qwen-family file becomes an MLX model folder."""
