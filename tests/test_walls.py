"""Who may import whom: the table in WORKSPACE_NOTES.md, held against every import in the code."""

import graphlib
import pathlib
import re

import grimp
import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[1]
FROM_ANYWHERE = {"errors", "evenly", "python_api"}
ALL_ABOVE = "all above"


def _table():
    """{room: (the rooms that it may import, whether the row lists them)}, in the table's order."""
    notes = (PROJECT / "WORKSPACE_NOTES.md").read_text(encoding="utf-8")
    text = notes.partition("| room | does | may import |\n|---|---|---|\n")[2].partition("\n\n")[0]
    table = {}
    for line in text.splitlines():
        place, imports = line.strip("| ").split(" | ")[0], line.strip("| ").split(" | ")[-1]
        listed = set(re.findall(r"\w+", re.sub(r"\([^)]*\)", "", imports)))
        room = re.match(r"`(?:replicate/)?(\w+)", place)[1]
        table[room] = (set(table), False) if imports == ALL_ABOVE else (listed, True)
    return table


def _room(module):
    """The room of a module; None for the package `replicate` itself, which holds but names."""
    first, _, rest = module.partition(".")
    return (rest.partition(".")[0] or None) if first == "replicate" else first


@pytest.fixture(scope="module")
def graph():
    """Every import, those in functions and for type checkers too."""
    return grimp.build_graph("replicate", "tfrecords", "tools", cache_dir=None)


@pytest.fixture(scope="module")
def imports(graph):
    """{(importing room, imported room): a line of code that does it}."""
    lines = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            rooms = _room(module), _room(imported)
            if None not in rooms and rooms[0] != rooms[1]:
                details = graph.get_import_details(importer=module, imported=imported)[0]
                lines[rooms] = f"{module}:{details['line_number']} {details['line_contents']}"
    assert ("config", "zoo") in lines and ("tools", "launch") in lines  # imports have been read
    return lines


def test_every_import_is_in_the_table(imports):
    table = _table()
    assert [
        line
        for (room, imported), line in sorted(imports.items())
        if imported not in table.get(room, (set(),))[0] | FROM_ANYWHERE
    ] == []


def test_no_arrow_points_upward(imports):
    """What a room imports stands above it in the table; so there is no circle."""
    rows = list(_table())
    assert [
        line
        for (room, imported), line in sorted(imports.items())
        if rows.index(imported) > rows.index(room)
    ] == []


def test_no_files_import_each_other(graph):
    """Within a room neither; a circle would be raised, and named."""
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert set(graphlib.TopologicalSorter(imported).static_order()) == graph.modules


def test_the_table_lists_no_import_that_is_not_there(imports):
    listed = {
        (room, imported)
        for room, (rooms, is_list) in _table().items()
        for imported in rooms
        if is_list
    }
    assert listed - set(imports) == set()


def test_every_room_has_its_row():
    there = {
        path.stem
        for path in (PROJECT / "replicate").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem != "__init__"
    }
    assert there | {"tfrecords", "tools", "configs"} == set(_table())
