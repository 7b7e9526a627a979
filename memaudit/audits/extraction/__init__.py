"""Does a model reproduce its training text? ``memaudit audit``.

`run.audit` is the whole way: what the model is given (`inputs`), the plan with its self-tests (`plan`, `controls`),
windows to records, the copies of each in the training text (`copies`), and records to evidence and verdict
(`conclude`).
"""
