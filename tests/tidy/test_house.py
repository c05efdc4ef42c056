"""The house rules of STYLE.md that a machine can check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "src" / "farthing"
MODULES = sorted(SOURCE.rglob("*.py"))

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
README_LINES_MAX = 100

_STATEMENT = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH \w+ AS|COPY|CREATE)\s", re.DOTALL)
# Statements that set up a connection or a cluster, not questions about the business.
_SQL_ALSO_IN = ("db/",)
_BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|base|managers?|misc)(_|$)")


def relative(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES_MAX
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_and_public_function_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if relative(path).startswith(("kernel/", "rating/"))], ids=relative
)
def test_no_float_near_money(path: Path) -> None:
    floats = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("float", "round")
        )
    ]
    assert floats == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_sql_stands_in_store_files_only(path: Path) -> None:
    name = relative(path)
    if "store" in name or name.startswith(_SQL_ALSO_IN):
        return
    statements = [
        node.value[:60]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _STATEMENT.match(node.value)
    ]
    assert statements == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_transactions_open_in_use_cases_only(path: Path) -> None:
    name = relative(path)
    if name.startswith("db/"):
        return
    opened = [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("transaction", "operator_transaction")
    ]
    use_cases = (
        "service.py",
        "apply.py",
        "life.py",
        "upkeep.py",
        "top_ups.py",
        "accruing.py",
        "plan_migration.py",
        "correcting.py",
        "giving_back.py",
        "sealer.py",
        "rewrite.py",
        "resolve.py",
        "keys.py",
        "idempotency.py",
    )
    assert opened == [] or path.name in use_cases


def test_names_are_about_something() -> None:
    assert [relative(path) for path in SOURCE.rglob("*") if _BANNED_NAMES.search(path.stem)] == []


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= README_LINES_MAX
