"""Windows of tokens, and the guard against overlap of the sides."""
