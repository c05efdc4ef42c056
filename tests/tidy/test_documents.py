"""What documents name is there: files, links, rooms in their order, words once."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "src" / "farthing"
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("tests/*/README.md")]
)

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|sql|md|toml|typ))`")


def page_name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link and "@" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """A path in code quotes begins at the repository, at the page's folder, at the package or at a room."""
    tops = [REPOSITORY, page.parent, SOURCE, *(path for path in SOURCE.iterdir() if path.is_dir())]
    missing = [
        name
        for name in _FILE.findall(page.read_text())
        if not name.startswith("../") and not any((top / name).exists() for top in tops)
    ]
    assert missing == []


def test_the_table_of_rooms_is_in_the_order_of_imports() -> None:
    layers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][
        0
    ]
    rooms = [room for room in reversed(layers["layers"]) if not room.startswith(("(", "__"))]
    table = re.findall(r"^\| `([\w.]+)` \|", (REPOSITORY / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    named = [room.removesuffix(".py") for room in table]
    assert [room for room in named if "." not in room] == rooms
    assert all((SOURCE / room.replace(".", "/")).exists() for room in named if "." in room)


def test_the_table_of_rooms_names_files_of_each() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \|.*\| ([^|]+) \|$", (REPOSITORY / "ARCHITECTURE.md").read_text(), re.MULTILINE
    )
    missing = [
        f"{room}: {name}"
        for room, cell in rows
        for name in re.findall(r"`([^`]+)`", cell)
        if not (SOURCE / room.replace(".", "/") / name).exists()
    ]
    assert len(rows) > 10
    assert missing == []


def test_every_decision_is_listed_once() -> None:
    folder = REPOSITORY / "docs" / "adr"
    pages = sorted(path.name for path in folder.glob("0*.md"))
    assert re.findall(r"\]\((0[\w-]+\.md)\)", (folder / "README.md").read_text()) == pages
    assert [name[:4] for name in pages] == [f"{place:04}" for place in range(1, len(pages) + 1)]


def test_a_word_means_one_thing() -> None:
    rows = re.findall(r"^\| (\*\*.+?\*\*) \|", (REPOSITORY / "GLOSSARY.md").read_text(), re.MULTILINE)
    words = [word for row in rows for word in re.findall(r"\*\*(.+?)\*\*", row)]
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_the_readme_leads_to_every_concept_and_guide() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    pages = [
        path
        for folder in ("concepts", "guides", "operations")
        for path in (REPOSITORY / "docs" / folder).glob("*.md")
    ]
    assert [page_name(path) for path in pages if f"({page_name(path)})" not in readme] == []


def test_every_room_says_what_it_owns() -> None:
    rooms = [path for path in SOURCE.iterdir() if (path / "__init__.py").exists()]
    silent = [
        path.name for path in rooms if not ast.get_docstring(ast.parse((path / "__init__.py").read_text()))
    ]
    assert silent == []
