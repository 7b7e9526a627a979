"""Corpora: places, containers, formats, records, documents."""
