"""The process that draws charts: a Vega-Lite specification a line on standard input, an answer a line on output."""

from __future__ import annotations

import json
import os
import select
import sys

IDLE = 30
"""Seconds without work after which it ends."""
WARM_UP = '{"data":{"values":[{"x":1}]},"mark":"point","encoding":{"x":{"field":"x","type":"quantitative"}}}'


def serve() -> None:
    """Draw until there is nobody who asks."""
    import vl_convert

    vl_convert.vegalite_to_svg(WARM_UP)  # the engine starts while the first chart is still being described
    lines, answers = sys.stdin.buffer, sys.stdout.buffer
    while select.select([lines], [], [], IDLE)[0] and (line := lines.readline()):
        try:
            answer = {"svg": vl_convert.vegalite_to_svg(line.decode())}
        except ValueError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve()
    os._exit(0)  # the engine has nothing to save, and takes its time to go
