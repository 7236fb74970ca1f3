"""The installed Object Detection API is the published release, and a change in it is told."""

import base64
import importlib.metadata
import shutil
import types

from replicate.odapi import provenance


def test_the_installed_package_is_the_release():
    assert provenance.differences() == []
    assert len(provenance.release()["files"]) > 500


def test_hashes_are_those_that_the_installer_recorded():
    published = provenance.release()
    recorded = {
        str(path): base64.urlsafe_b64decode(path.hash.value + "=").hex()
        for path in importlib.metadata.files(published["distribution"])
        if path.suffix == ".py"
    }
    assert recorded == published["files"]


def test_a_changed_a_missing_and_an_added_file_are_told(tmp_path, monkeypatch):
    import object_detection

    folder = tmp_path / "object_detection"
    shutil.copytree(
        object_detection.__path__[0], folder, ignore=shutil.ignore_patterns("*.pyc", "*_test.py")
    )
    (folder / "inputs.py").write_text("# nothing\n")
    (folder / "core" / "losses.py").unlink()
    (folder / "core" / "more.py").touch()
    spec = types.SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(provenance.importlib.util, "find_spec", lambda name: spec)
    told = [row for row in provenance.differences() if not row[0].endswith("_test.py")]
    assert told == [
        ("object_detection/core/losses.py", "missing"),
        ("object_detection/core/more.py", "added"),
        ("object_detection/inputs.py", "changed"),
    ]


def test_a_missing_package_and_another_version_are_told(monkeypatch):
    monkeypatch.setattr(provenance.importlib.metadata, "version", lambda name: "9.9")
    assert provenance.differences() == [
        ("tf_models_research_object_detection", "version 9.9, not 2.8.0.post1")
    ]
    monkeypatch.setattr(provenance.importlib.util, "find_spec", lambda name: None)
    assert provenance.differences() == [("tf_models_research_object_detection", "not installed")]
