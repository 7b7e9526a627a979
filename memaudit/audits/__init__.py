"""Audits: one package a question, each with its way from input to verdict in ``run.py``; the rest is shared."""
