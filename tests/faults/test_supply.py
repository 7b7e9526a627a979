"""What memaudit is installed from: a lock with hashes, a bill of materials that says the same, and nothing broken."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
LOCKED = {line.split("==")[0]: line for line in LINES}
SBOM = json.loads((ROOT / "sbom.json").read_text())


def test_every_line_of_the_lock_is_a_version_with_a_hash() -> None:
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!-]+ --hash=sha256:[0-9a-f]{64}", line), line
    assert len(LOCKED) == len(LINES)


def test_the_lock_meets_what_the_project_asks_for() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for requirement in map(Requirement, wanted):
        version = LOCKED[canonicalize_name(requirement.name)].split("==")[1].split(" ")[0]
        assert requirement.specifier.contains(Version(version)), requirement


def test_the_bill_of_materials_lists_what_is_locked() -> None:
    assert (SBOM["bomFormat"], SBOM["specVersion"]) == ("CycloneDX", "1.6")
    listed = {f"{c['name']}=={c['version']} --hash=sha256:{c['hashes'][0]['content']}" for c in SBOM["components"]}
    assert listed == set(LINES)
    refs = {component["bom-ref"] for component in SBOM["components"]}
    assert set(SBOM["dependencies"][0]["dependsOn"]) == refs
    assert len(refs) == len(LINES)


def test_neither_names_a_host_or_a_path() -> None:
    for name in ("requirements.lock", "sbom.json"):
        assert not re.search(r"://|\s/\w", (ROOT / name).read_text().replace("pkg:pypi/", "")), name


def test_what_is_installed_fits_together() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
