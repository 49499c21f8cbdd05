"""The vision worker: models that look at pictures, on mlx-vlm."""
