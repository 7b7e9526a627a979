"""Does a model recite its training text? ``memaudit audit``.

`run.audit` is the whole way: what was asked (`asked`), the plan with its self-tests (`plan`, `controls`), windows to
records, the copies of each in the training text (`copies`), and records to evidence and verdict (`evidence`).
"""
