"""Chat templates that run away, reach for what is not theirs, or are none."""

from __future__ import annotations

RUNAWAY = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'x' * 10**9 }}",
    "list": "{{ [1] * 10**9 }}",
    "long": "{{ 'x' * 10**7 }}",
    "many": "{% for i in range(99999) %}{{ 'x' * 100 }}{% endfor %}",
    "doubled": "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "number": "{{ 9 ** (9 ** 9) }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "clock": "{{ strftime_now.__self__ }}{{ strftime_now.__class__ }}",
    "namespace": "{% set ns = namespace(_x=1) %}",
    "attribute": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "changes": "{{ messages.append(1) }}",
    "syntax": "{% if %}",
    "tags": "{% include '/etc/passwd' %}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}
