"""The revision and the diff that a run records are the kit's own or nothing."""

import subprocess

import pytest

from replicate import environment


def _git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _commit(folder):
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "a")
    return _git(folder, "rev-parse", "HEAD")


@pytest.fixture
def kit(tmp_path):
    """A folder with the files by which a checkout of the kit is known."""
    folder = tmp_path / "user" / "kit"
    (folder / "replicate").mkdir(parents=True)
    (folder / "replicate" / "environment.py").write_text("key = None\n")
    return folder


def test_a_checkout_has_its_revision_and_its_changes(kit, monkeypatch):
    monkeypatch.setenv("PLANTED_API_KEY", "planted-0123456789")
    revision = _commit(kit)
    assert environment._git(kit) == {"revision": revision, "diff": ""}
    (kit / "replicate" / "environment.py").write_text("key = 'planted-0123456789'\n")
    told = environment._git(kit)
    assert told["revision"] == revision
    assert "+key = '<PLANTED_API_KEY>'" in told["diff"] and "planted" not in told["diff"]


def test_inside_another_repository_nothing_is_recorded(kit):
    """As a wheel in a user's project, whose changes are private."""
    (kit.parent / "private.py").write_text("a = 1\n")
    _commit(kit.parent)
    (kit.parent / "private.py").write_text("a = 2\n")
    assert environment._git(kit) is None


def test_files_beside_the_kit_stay_private(kit):
    (kit / "private.py").write_text("a = 1\n")
    revision = _commit(kit)
    (kit / "private.py").write_text("a = 2\n")
    assert environment._git(kit) == {"revision": revision, "diff": ""}


def test_a_copy_that_its_repository_does_not_hold(kit):
    (kit / "private.py").write_text("a = 1\n")
    (kit / ".gitignore").write_text("replicate\n")
    _commit(kit)
    assert environment._git(kit) is None


def test_a_hooks_variables_do_not_lead_elsewhere(kit, tmp_path, monkeypatch):
    """`git` run from a hook of another repository has GIT_DIR set."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "private.py").write_text("a = 1\n")
    theirs = _commit(other)
    ours = _commit(kit)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(kit))
    assert environment._git(kit)["revision"] == ours != theirs


def test_no_repository_at_all(kit):
    assert environment._git(kit) is None


def test_the_hash_of_a_room_that_is_gone_is_refused():
    """Without this a room that was renamed would leave the hash, and its changes with it."""
    with pytest.raises(FileNotFoundError, match="no_such_room"):
        environment.code_sha256("score", "no_such_room")
    assert environment.code_sha256("score") != environment.code_sha256("score", "zoo")
