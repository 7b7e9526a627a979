"""Has a model seen a benchmark? ``memaudit contamination --model``.

`run.membership` is the whole way: suspects and held-out items (`sides`), scores of either by the model and its
references (`memaudit.audits.comparison`), detectors with controls that may silence them (`memaudit.audits.detectors`),
and the verdict over all of them (`conclude`).
"""
