"""Has a model seen a benchmark? ``memaudit contamination --model``, and ``memaudit audit --membership``.

`run.membership` is the whole way: suspects and held-out items (`suspects`, `sides`), scores of either by the model and
its references (`scores`, `references`), detectors with controls that may silence them (`detection`, `blind`, `peers`),
and the verdict over all of them (`report`).
"""
