"""How long a denoising step takes in this engine and in others, side by side on the same GPUs."""
