"""How long ``memaudit --help`` takes beside a bare Typer application."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import Report

BARE = """
import typer
app = typer.Typer()

@app.command()
def one(name: str = "x"):
    print(name)

@app.command()
def two(name: str = "x"):
    print(name)

app()
"""


def wall(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    report = Report("startup")
    bare, ours = [sys.executable, "-c", BARE, "--help"], [sys.executable, "-m", "memaudit", "--help"]
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(11):
        times["bare"].append(wall(bare))
        times["ours"].append(wall(ours))
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    report.add("a bare Typer app --help", middle["bare"], unit="s")
    report.add("memaudit --help", middle["ours"], unit="s")
    report.add("twice the bare app against memaudit --help", 2 * middle["bare"] / middle["ours"], goal=1.0)
    report.finish()


if __name__ == "__main__":
    main()
