"""Conversations as a model is given them: its chat template, rendered apart and held short, and its tokens."""
