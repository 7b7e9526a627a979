"""One pass over a corpus in search of the texts of a benchmark.

The data's way: needles -> `patterns` (tables of their seeds, n-grams and substrings); files -> `batch` (documents
as UTF-8) -> words -> `kernel` and `substrings` (counts and candidates) -> `stream` (excerpts) -> `result` (what was
found, merged over files in any order) -> `rules` (the published rules' verdicts).
"""
