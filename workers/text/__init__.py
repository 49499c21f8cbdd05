"""The text worker: language models on mlx-lm."""
