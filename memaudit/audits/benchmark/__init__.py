"""Benchmarks as they lie on disk: items, names, layouts, scores."""
