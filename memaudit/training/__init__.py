"""Training: one loop for all networks, checkpoints with exact resume, and the way from text to a model folder."""
