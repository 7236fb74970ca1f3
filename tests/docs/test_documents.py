"""Every fenced command of README.md and docs/, run in the order it stands, on tiny data."""

import pytest

from tests.docs import blocks, commands
from tests.docs.workspace import Workspace

COMMANDS = {
    document: [
        (block, command)
        for block in blocks.of(document)
        if block.kind != blocks.OTHER
        for command in block.commands()
    ]
    for document in blocks.DOCUMENTS
}
README = "README.md"


def _of(table, document, command):
    """The entry of a table of (document, how the command begins), or None."""
    found = [each for each in table if each[0] == document and command.startswith(each[1])]
    return max(found, key=lambda each: len(each[1]), default=None)


def _is_slow(document, command):
    return _of(commands.SLOW, document, command) is not None


def _is_run(document, command):
    return _of(commands.NOT_RUN, document, command) is None


def prepared(document, command):
    """The command as it is run here."""
    text = command
    for where, start, old, new in commands.IN_ONE:
        if where == document and command.startswith(start):
            text = text.replace(old, new) if old else f"{text} {new}"
    for old, new in commands.EVERYWHERE:
        text = text.replace(old, new)
    return text


def _run(workspace, document, slow):
    """Runs a document's commands, the slow ones or the others."""
    for block, command in COMMANDS[document]:
        if not _is_run(document, command) or _is_slow(document, command) != slow:
            continue
        done = workspace.run(prepared(document, command))
        answers = commands.ANSWERS.get(_of(commands.ANSWERS, document, command), (0,))
        assert done.status in answers, (
            f"{document}:{block.line}: {command}\nrun as: {done.command}\n"
            f"exit status {done.status}\n{done.output[-6000:]}"
        )
        assert "Traceback (most recent call last)" not in done.output, done.output[-6000:]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def after_readme(workspace):
    """The workspace when README's commands have run: runs/fpnlite320, runs/a, pipeline.config."""
    _run(workspace, README, slow=False)
    return workspace


def test_the_readme(after_readme):
    """The piece-by-piece path ends where the one command does."""
    one, pieces = (after_readme.root / "runs" / name for name in ("fpnlite320", "a"))
    for run in (one, pieces):
        for name in ("spec.json", "pipeline.config", "deviations.json", "environment.json"):
            assert (run / name).is_file(), (run, name)
        assert (run / "report" / "index.html").is_file()
    assert (after_readme.root / "comparison" / "index.html").is_file()


@pytest.mark.parametrize("document", [each for each in blocks.DOCUMENTS if each != README])
def test_a_document(document, after_readme):
    _run(after_readme, document, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("document", sorted({document for document, _ in commands.SLOW}))
def test_what_builds_models(document, after_readme):
    _run(after_readme, document, slow=True)


def test_nothing_in_the_tables_is_stale():
    everything = [(document, text) for document in COMMANDS for _, text in COMMANDS[document]]
    for table in (commands.NOT_RUN, commands.ANSWERS, commands.SLOW):
        for document, start in table:
            assert any(d == document and c.startswith(start) for d, c in everything), start
    for document, start, old, _ in commands.IN_ONE:
        assert any(d == document and c.startswith(start) and old in c for d, c in everything), (
            document,
            start,
            old,
        )
    for old, _ in commands.EVERYWHERE:
        assert any(old in command for _, command in everything), old


def test_every_block_of_commands_is_seen():
    """One that begins otherwise would not be run: it must be a layout or a snippet."""
    others = [block for d in blocks.DOCUMENTS for block in blocks.of(d) if block.kind == "other"]
    for block in others:
        assert "tools/" not in block.text, f"{block.document}:{block.line}"
    assert sum(len(each) for each in COMMANDS.values()) > 40
