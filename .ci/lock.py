"""Write requirements.lock and sbom.json: what this environment runs memaudit with, each file by its hash.

python .ci/lock.py        # in an environment in which memaudit is installed; asks pip for the hashes

The lock is for Linux on x86-64 and the Python named in it, with a CPU build of torch:
pip install --require-hashes --only-binary :all: -r requirements.lock
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCK, SBOM = ROOT / "requirements.lock", ROOT / "sbom.json"


def canonical(name: str) -> str:
    """Return the name of a distribution as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict[str, Any]:
    """Return the project's own description."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def closure() -> dict[str, str]:
    """Return name and version of every distribution that memaudit needs, as they are installed here."""
    wanted, found = list(project()["dependencies"]), {}
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonical(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = metadata.version(name)
        needed = metadata.requires(name) or []
        extras = [Requirement(text) for text in needed]
        wanted += [
            str(inner)
            for inner in extras
            if not inner.marker or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras))
        ]
    return dict(sorted(found.items()))


def hashes(pinned: dict[str, str]) -> dict[str, str]:
    """Return the SHA-256 of the wheel that pip would install of each distribution."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        names = [f"{name}=={version}" for name, version in pinned.items()]
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
        subprocess.run([*command, "--only-binary", ":all:", "--report", str(report), *names], check=True)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonical(i["metadata"]["name"]): i["download_info"]["archive_info"]["hashes"]["sha256"] for i in installs}


def bill(pinned: dict[str, str], sums: dict[str, str]) -> dict[str, Any]:
    """Return a bill of materials in the form of CycloneDX 1.6."""
    own = project()
    components = [
        {
            "type": "library",
            "bom-ref": f"{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": [{"alg": "SHA-256", "content": sums[name]}],
            "licenses": [{"license": {"name": licence(name)}}],
        }
        for name, version in pinned.items()
    ]
    main = {"type": "application", "bom-ref": own["name"], "name": own["name"], "version": own["version"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": main},
        "components": components,
        "dependencies": [{"ref": own["name"], "dependsOn": [part["bom-ref"] for part in components]}],
    }


def licence(name: str) -> str:
    """Return what a distribution says of its licence, in one short line."""
    about = metadata.metadata(name)
    said = about.get("License-Expression") or about.get("License") or ""
    classifiers = [c.split(" :: ")[-1] for c in about.get_all("Classifier", []) if c.startswith("License :: ")]
    return said if said and "\n" not in said and len(said) < 80 else "; ".join(classifiers) or "see its metadata"


def main() -> None:
    """Write both files."""
    pinned = closure()
    sums = hashes(pinned)
    head = f"# Linux x86-64, Python {platform.python_version()}; written by .ci/lock.py\n"
    lines = (f"{name}=={version} --hash=sha256:{sums[name]}\n" for name, version in pinned.items())
    LOCK.write_text(head + "".join(lines), encoding="utf-8")
    SBOM.write_text(json.dumps(bill(pinned, sums), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
