"""Where text comes from: reading, tokenizing, windows, planting. Never torch."""
