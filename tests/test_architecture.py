"""The architecture, read off the imports: floors, no cycle, torch only where it belongs, help that starts fast."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import memaudit
from memaudit.families import BUILTIN
from memaudit.records import ORDINARY
from memaudit.report.formats.names import FORMATS, OF_ANY_RUN, OF_VERDICTS
from memaudit.report.kinds import KINDS

PACKAGE = Path(memaudit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [
    {"errors"},
    {"records", "sections"},
    {"runs"},
    {"config", "stats"},
    {"plugins"},
    {"metrics"},
    {"findings"},
    {"families"},
    {"text"},
    {"models"},
    {"training"},
    {"report"},
    {"engines"},
    {"audits"},
    {"demo"},
    {"cli"},
    {"__init__"},
    {"__main__"},
]
"""A module imports from its own unit and from floors below, never from above."""

FORBIDDEN = {
    "report": {"models", "training", "audits", "text"},
    "metrics": {"text", "models", "training"},
    "text": {"models", "training"},
}
MAY_IMPORT_TORCH = {"models", "training"}


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(file: Path, *, for_types: bool = False) -> set[str]:
    """Names of all imports of a file, those inside functions included; those for type checking only if asked for."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


MODULES = {module_name(file): imported(file) for file in FILES}
GRAPH = {name: {i for i in imports if i in MODULES and i != name} for name, imports in MODULES.items()}
READ = {module_name(file): {i for i in imported(file, for_types=True) if i in MODULES} for file in FILES}
"""What must be read to understand a module: its imports for type checking too."""


def floor_of(name: str) -> int:
    return next(i for i, floor in enumerate(FLOORS) if name in floor)


def test_every_module_stands_on_a_floor() -> None:
    assert {unit(name) for name in MODULES} <= set().union(*FLOORS)


def test_imports_point_down() -> None:
    upward = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if unit(name) != unit(other)
        and floor_of(unit(name)) <= floor_of(unit(other))
        # the package's own namespace is read for its version and public names only
        and unit(other) != "__init__"
    ]
    assert upward == []


def test_forbidden_imports() -> None:
    found = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if unit(other) in FORBIDDEN.get(unit(name), set())
    ]
    assert found == []


def test_no_import_cycle() -> None:
    # A package's own namespace module is left out: importing a.b imports a, which must not import back.
    order = list(TopologicalSorter({n: o - {"memaudit", n} for n, o in READ.items()}).static_order())
    assert set(order) >= set(READ) - {"memaudit"}


def part(module: str) -> str:
    """What a module belongs to: its package; itself where it stands beside packages, as a file of one floor does."""
    if module in PACKAGES:
        return module
    package = module.rpartition(".")[0]
    beside = any(other.startswith(f"{package}.") for other in PACKAGES)
    return module if beside else package


PACKAGES = {module_name(file) for file in FILES if file.name == "__init__.py"}


def test_no_knot_of_packages() -> None:
    """Packages, however deep, and the files beside them: what they import, for type checking too, makes no circle."""
    graph: dict[str, set[str]] = {}
    for name, others in READ.items():
        graph.setdefault(part(name), set()).update(part(other) for other in others)
    order = TopologicalSorter({n: o - {"memaudit", n} for n, o in graph.items() if n != "memaudit"}).static_order()
    assert len(list(order)) > 60


def test_the_floors_are_joined_by_few_arrows() -> None:
    arrows = {
        (unit(name), unit(other)) for name, others in READ.items() for other in others if unit(name) != unit(other)
    }
    assert len(arrows) <= 91


def test_only_models_and_training_import_torch() -> None:
    found = {name for name, imports in MODULES.items() if any(i.split(".")[0] == "torch" for i in imports)}
    assert {unit(name) for name in found} <= MAY_IMPORT_TORCH


def test_files_and_functions_stay_readable() -> None:
    long_files = [f"{f.name}: {n}" for f in FILES if (n := len(f.read_text(encoding="utf-8").splitlines())) > 420]
    long_functions = [
        f"{file.name}:{node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno > 80
    ]
    assert long_files == []
    assert long_functions == []


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "transformers", "pandas", "scipy", "numba", "datasets", "pyarrow"}


def test_importing_memaudit_imports_nothing_heavy() -> None:
    assert not modules_after("import memaudit; memaudit.__all__") & HEAVY


def test_help_imports_nothing_heavy() -> None:
    code = "from typer.testing import CliRunner; from memaudit.cli.app import app; CliRunner().invoke(app, ['--help'])"
    assert not modules_after(code) & (HEAVY | {"numpy"})


def test_reading_a_report_needs_no_torch() -> None:
    read = "import memaudit.report.formats.html, memaudit.report.extraction_page, memaudit.report.extraction_terminal"
    assert not modules_after(read) & {"torch", "transformers"}


def test_the_names_of_formats_cost_nothing() -> None:
    code = "from memaudit.report.formats.names import OF_VERDICTS, OF_ANY_RUN"
    assert not modules_after(code) & (HEAVY | {"numpy", "rich", "jinja2"})


def test_a_kind_of_run_draws_nothing_before_it_is_shown() -> None:
    code = "import memaudit.report.kinds as k; [k.kind_named(name) for name in k.KINDS.builtin]"
    assert not modules_after(code) & ((HEAVY - {"scipy"}) | {"rich", "jinja2"})


BLIND = [
    *(PACKAGE / "report" / "formats").glob("*.py"),
    PACKAGE / "report" / "kinds" / "base.py",
    *(PACKAGE / "report" / f"{name}.py" for name in ("problems", "cases", "blocks", "disclosure", "page", "terminal")),
    *(PACKAGE / "report" / f"sections{part}.py" for part in ("", "_page", "_terminal")),
]
"""What shows a run of any kind."""


def test_formats_know_no_kind_of_run() -> None:
    kinds = re.compile(rf"\b({'|'.join(KINDS.builtin)})\b", re.IGNORECASE)
    found = {file.name: kinds.findall(file.read_text(encoding="utf-8")) for file in BLIND}
    assert {name: words for name, words in found.items() if words} == {}


def test_one_file_a_kind_and_one_file_a_format() -> None:
    def modules(folder: str, apart: set[str]) -> set[str]:
        return {file.stem for file in (PACKAGE / "report" / folder).glob("*.py")} - {"__init__", "base"} - apart

    assert modules("kinds", set()) == set(KINDS.builtin)
    assert modules("formats", {"names", "github", "screen"}) == set(FORMATS.builtin)
    assert set(OF_ANY_RUN) < set(OF_VERDICTS)


def test_public_names_are_what_the_package_offers() -> None:
    assert sorted(memaudit.__all__) == memaudit.__all__
    for name in memaudit.__all__:
        assert getattr(memaudit, name) is not None


def test_no_module_imports_the_package_around_it() -> None:
    """``from memaudit import stats`` runs through ``__init__``, which stands above everything."""
    found = [
        f"{file.name}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "memaudit" and not node.level
    ]
    assert found == []


ROUNDING = re.compile(r"\.\d+[a-zA-Z%]?$|%$")
"""The end of a format that leaves digits out: ``.1f``, ``,.0f``, ``.2``, ``%``."""
MAY_ROUND = {
    "stats/rounding.py": "the one place",
    "report/charts/svg.py": "coordinates of a drawing",
    "audits/detectors/order.py": "totals as they are logged: ties of orders must not hang on the last bit of a sum",
    "metrics/likelihood.py": "a number of tokens, which is whole whatever the product is in floats",
    "audits/self_tests.py": "what a model is recognised by, on any machine",
    "audits/extraction/power.py": "the design of a simulation, so that it is drawn once for rates as good as equal",
    "audits/comparison/power.py": "the same",
}
"""Where digits are left out, and why it may be so; charts have their ticks put into words by Altair."""


def roundings(tree: ast.Module) -> list[ast.AST]:
    """Return where digits are left out: by a format, or by ``round`` to some places."""

    def called(node: ast.AST, name: str) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name

    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
            parts = node.format_spec.values
            spec = "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in parts)
            found += [node] if ROUNDING.search(spec) else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [node] if re.search(r"\{\w*:[^{}]*\.\d+[a-zA-Z%]?\}|%[-+ ]?\d*\.\d+[efgEFG]", node.value) else []
        elif (called(node, "round") and len(node.args) + len(node.keywords) > 1) or called(node, "format"):  # type: ignore[attr-defined]
            found.append(node)
    return found


def test_numbers_are_rounded_in_one_place() -> None:
    found = {
        file.relative_to(PACKAGE).as_posix(): [node.lineno for node in nodes]  # type: ignore[attr-defined]
        for file in FILES
        if (nodes := roundings(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert {name: lines for name, lines in found.items() if name not in MAY_ROUND} == {}, "see memaudit.stats.rounding"
    assert set(MAY_ROUND) == set(found), "what rounds no more needs no reason"


def test_rounding_is_recognised() -> None:
    refused = [
        'f"{x:.2f}"',
        'f"{x:+.1%}"',
        'f"{x:,.0f}"',
        'f"{x:{n}.1f}"',
        'f"{x:%}"',
        "round(x, 2)",
        '"{:.3g}".format(x)',
    ]
    refused += ['"%.2f" % x', 'format(x, ".2f")', "round(x, ndigits=1)", 'f"{x:.{n}f}"']
    allowed = ['f"{x:,}"', 'f"{x:g}"', 'f"{x:04x}"', "round(x)", 'f"{x}"', 'f"{x:>8}"', '"a {b:,} c"', '"100%"']
    assert [code for code in refused if not roundings(ast.parse(code))] == []
    assert [code for code in allowed if roundings(ast.parse(code))] == []


FAMILY_FILES = {
    "families.py",
    "cli/train.py",
    "text/corpus/conversations.py",  # ShareGPT calls the assistant "gpt"
    *(f"models/{name}.py" for name in ("ngram", "infinity", "rnn", "transformer", "masked", "masked_rows")),
}
"""Where names of families may stand: the table, the families' own files, and the commands with options of their own."""
MAX_OBJECTIVES = 1
"""Comparisons of an objective with a name: of the architecture that a folder describes."""


def literals(file: Path) -> set[str]:
    """Texts that stand in the code of a file, docstrings as a whole."""
    return strings(ast.parse(file.read_text(encoding="utf-8")))


def test_names_of_families_stand_in_the_table_and_in_the_families_own_files() -> None:
    holding = {file.relative_to(PACKAGE).as_posix() for file in FILES if literals(file) & set(BUILTIN)}
    assert holding <= FAMILY_FILES, "ask memaudit.families, or the model"


def test_what_a_model_can_do_is_asked_of_its_capabilities_and_not_of_its_objective() -> None:
    compared = [
        f"{file.relative_to(PACKAGE).as_posix()}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and "objective" in ast.unparse(node) and strings(node) & set(ORDINARY)
    ]
    assert {place.partition("/")[0] for place in compared} <= {"models"}
    assert len(compared) <= MAX_OBJECTIVES, compared


def strings(node: ast.AST) -> set[str]:
    """Texts inside a part of the code."""
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
