"""Does a benchmark occur in a corpus? ``memaudit contamination --corpus``.

`run.contamination` is the whole way: items by the layout of their benchmark (`memaudit.audits.benchmark`), a scan of
the corpus for their seeds (`search_target`, `scan_log`), matches beside rules (`judgement`, `likeness`), and the
verdict under a policy (`conclude`).
"""
