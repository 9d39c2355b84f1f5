"""Start weights of a training: choose them, and try whether they help."""
