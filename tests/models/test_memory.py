"""Memory that is free: the least of what the system, control groups and limits of the process leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memaudit.models import memory
from memaudit.models.memory import free_bytes

MIB = 1 << 20


def group(folder: Path, names: tuple[str, str], limit: str, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file {cached}\n")


def test_every_group_above_a_process_counts_and_cached_files_are_free(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/jobs/mine\n")
    two = "memory.max", "memory.current"
    group(tmp_path / "jobs" / "mine", two, str(100 * MIB), 60 * MIB, 10 * MIB)
    group(tmp_path / "jobs", two, str(90 * MIB), 80 * MIB)
    group(tmp_path, two, "max", 0)
    assert memory._left_by_groups(tmp_path, own) == [60 * MIB, 10 * MIB]


def test_groups_of_the_first_kind(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("7:cpu,cpuacct:/jobs\n4:memory:/jobs\n1:name=systemd:/jobs\n")
    group(tmp_path / "memory" / "jobs", ("memory.limit_in_bytes", "memory.usage_in_bytes"), str(50 * MIB), 60 * MIB)
    assert memory._left_by_groups(tmp_path, own) == [0]


def test_a_process_in_a_container_reads_the_group_at_the_root(tmp_path: Path) -> None:
    """Its own name for the group may be that of the machine outside, which is not there."""
    own = tmp_path / "own"
    own.write_text("0::/outside/of/it\n")
    group(tmp_path, ("memory.max", "memory.current"), str(7 * MIB), 2 * MIB)
    assert memory._left_by_groups(tmp_path, own) == [5 * MIB]
    assert memory._left_by_groups(tmp_path, tmp_path / "absent") == []


def test_the_least_is_taken_and_nothing_known_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "_text", lambda _: "MemFree: 1 kB\nMemAvailable:    2048 kB\n")
    monkeypatch.setattr(memory, "_left_by_groups", lambda: [3 * MIB])
    monkeypatch.setattr(memory, "_left_of_addresses", list)
    assert free_bytes(cpu) == 2 * MIB
    monkeypatch.setattr(memory, "_left_by_groups", lambda: [MIB])
    assert free_bytes(cpu) == MIB
    monkeypatch.setattr(memory, "_text", lambda _: "")
    monkeypatch.setattr(memory, "_left_by_groups", list)
    assert free_bytes(cpu) == free_bytes(torch.device("meta")) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses")
def test_a_limit_of_addresses_counts() -> None:
    code = """
import resource
from memaudit.models import memory
assert memory._left_of_addresses() == []
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
[left] = memory._left_of_addresses()
assert 0 < left <= 64 << 20, left
"""
    subprocess.run([sys.executable, "-c", code], check=True)
