"""Runs on disk: directory, schema, files, tables, what they were made of and with."""
