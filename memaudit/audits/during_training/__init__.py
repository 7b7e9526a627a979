"""Memorization as it grows: audits of a fixed sample while a model is trained."""
