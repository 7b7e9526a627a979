"""Does a benchmark stand in a corpus? ``memaudit contamination --corpus``.

`run.contamination` is the whole way: items by the layout of their benchmark (`benchmark`, `layouts`), a scan of the
corpus for their seeds (`haystack`, `workers`, `scan_log`), passages beside items (`covering`, `matching`), and the
verdict under a policy (`judgement`, `evidence`).
"""
