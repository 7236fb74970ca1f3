"""A claim verifies in an empty folder; one byte changed anywhere fails, by the file's name."""

import json
import shutil
import subprocess
import sys

import pytest

from replicate import claim, report
from replicate.claim import contents, verifying
from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json
from tests.conftest import PROJECT
from tests.report import making
from tests.tools.running import replicate_command, run_tool


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return making.groundtruth(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, drawn):
    """A whole run with its report; not to be changed."""
    run = making.run_directory(tmp_path_factory.mktemp("runs") / "a", *drawn, steps=(100, 200))
    report.write(run)
    return run


@pytest.fixture
def run(tmp_path, finished):
    return RunDir(shutil.copytree(finished.root, tmp_path / "a"))


@pytest.fixture(scope="module")
def bundled(tmp_path_factory, finished):
    """(path, SHA-256 of claim.json)."""
    path = tmp_path_factory.mktemp("claims") / "claim.tar.gz"
    return path, claim.bundle(finished.root, path)


def _tool(name, *arguments, cwd):
    command = [sys.executable, str(PROJECT / "tools" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def _repacked(bundled, tmp_path, change):
    """The bundle with `change(members)` done to its members."""
    members = contents.unpack(bundled[0])
    change(members)
    contents.pack(members, tmp_path / "changed.tar.gz")
    return tmp_path / "changed.tar.gz"


def test_it_verifies_in_an_empty_folder(finished, drawn, tmp_path):
    """By the tools, the run directory out of reach."""
    made = _tool("bundle", finished.root, f"--output={tmp_path / 'c.tar.gz'}", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    digest = made.stdout.split("SHA-256 ")[1].split(";")[0]
    empty = tmp_path / "empty"
    empty.mkdir()
    asked = (f"--annotations_file={drawn[0]}", f"--sha256={digest.upper()}")
    done = _tool("verify_claim", tmp_path / "c.tar.gz", *asked, cwd=empty)
    assert done.returncode == 0, done.stdout + done.stderr
    ap = read_json(finished.eval_at(200) / "metrics.json")["metrics"]["AP"]
    assert 0 < ap < 1 and f"boxes: AP {ap:.4f}" in done.stdout
    assert "the verdict decided again: NOT COMPARABLE" in done.stdout
    assert not list(empty.iterdir())
    other = _tool("verify_claim", tmp_path / "c.tar.gz", asked[0], f"--sha256={0:064}", cwd=empty)
    assert other.returncode == 1 and "DIFFERS  claim.json" in other.stdout


def test_it_holds_what_is_needed_and_no_groundtruth(bundled, drawn):
    members = contents.unpack(bundled[0])
    assert set(members) == {"claim.json", "requirements.txt"} | {
        f"run/{name}"
        for name in (
            *("spec.json", "pipeline.config", "deviations.json", "environment.json"),
            *("metrics.jsonl", "verdict.json", "report/report.json", "report/report.md"),
            *("evals/200/metrics.json", "evals/200/detections.json.gz"),
            *("data/manifest-train.json", "data/manifest-val.json"),
        )
    }
    listed = json.loads(members["claim.json"])
    assert listed["annotations"]["images"] == 16
    first = read_json(drawn[0])["annotations"][0]["bbox"]
    for content in members.values():
        assert json.dumps(first).encode() not in content.replace(b"\n", b"")


def test_the_folders_that_its_files_name_are_told(bundled, finished):
    named = claim.folders_named(bundled[0])
    text = "".join(path.read_text() for path in finished.root.glob("*.json"))
    where = str(finished.root.parent)
    assert where in text and any(where.startswith(folder) for folder in named)
    assert all(folder in text for folder in named)
    assert not any(a != b and a.startswith(f"{b}/") for a in named for b in named)


def test_the_same_run_gives_the_same_bytes(finished, bundled, tmp_path):
    assert claim.bundle(finished.root, tmp_path / "again.tar.gz") == bundled[1]
    assert (tmp_path / "again.tar.gz").read_bytes() == bundled[0].read_bytes()


def _members(bundled):
    return sorted(contents.unpack(bundled[0]))


def test_one_byte_of_each_file_in_turn(bundled, drawn, tmp_path):
    """First, last, and one in the middle of every file, another bit each."""
    tried = 0
    for name in _members(bundled):
        size = len(contents.unpack(bundled[0])[name])
        for place, bit in ((0, 1), (size // 2, 4), (size - 1, 64)):

            def flip(members, name=name, place=place, bit=bit):
                changed = bytearray(members[name])
                changed[place] ^= bit
                members[name] = bytes(changed)

            found = claim.verify(_repacked(bundled, tmp_path, flip), drawn[0])
            assert [each.partition(": ")[0] for each in found.differences] == [name], (name, place)
            tried += 1
    assert tried == 3 * len(_members(bundled)) >= 36


def test_a_byte_of_the_archive_itself(bundled, drawn, tmp_path):
    whole = bundled[0].read_bytes()
    places = [
        *range(8),
        9,
        *range(10, len(whole), len(whole) // 25),
        *range(len(whole) - 8, len(whole)),
    ]
    for place in places:
        (tmp_path / "c.tar.gz").write_bytes(
            whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :]
        )
        try:
            assert claim.verify(tmp_path / "c.tar.gz", drawn[0]).differences
        except UserError as error:
            assert "c.tar.gz" in str(error)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m.pop("run/verdict.json"), "run/verdict.json: not in the archive"),
        (lambda m: m.update(more=b"x"), "more: not listed in claim.json"),
        (lambda m: m.pop("claim.json"), "claim.json: not in the archive"),
        (
            lambda m: m.update({"claim.json": m["claim.json"].replace(b"\n ", b"\n  ", 1)}),
            "claim.json: its bytes are not as it was written",
        ),
    ],
)
def test_what_is_missing_or_too_many(bundled, drawn, tmp_path, change, told):
    found = claim.verify(_repacked(bundled, tmp_path, change), drawn[0])
    assert found.differences == [told]


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b"])
def test_a_member_that_would_leave_its_folder_is_refused(drawn, tmp_path, name):
    contents.pack({name: b"x"}, tmp_path / "c.tar.gz")
    with pytest.raises(UserError, match="no plain file of a claim's"):
        claim.verify(tmp_path / "c.tar.gz", drawn[0])


def _forged(bundled, tmp_path, name, change):
    """A file changed and every hash that lists it mended, as a forger would."""
    from replicate import contracts
    from tfrecords import checked_json

    def forge(members):
        document = checked_json.unsealed(json.loads(members[name]))
        change(document)
        members[name] = (json.dumps(checked_json.sealed(document), indent=1) + "\n").encode()
        listed = contracts.opened(
            checked_json.unsealed(json.loads(members["claim.json"])), "claim.json"
        )
        listed["files"][name] = contents.sha256(members[name])
        if name.endswith("metrics.json"):
            listed["metrics"]["bbox"] = document["metrics"]
        if name.endswith("verdict.json"):
            listed["verdict"], listed["headline"] = document["verdict"], document["headline"]
        members["claim.json"] = contents.text_of(listed)

    return _repacked(bundled, tmp_path, forge)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (
            "run/evals/200/metrics.json",
            lambda d: d["metrics"].update(AP=0.9),
            "of boxes, metrics.AP is",
        ),
        (
            "run/evals/200/metrics.json",
            lambda d: d["protocol"].update(max_detections=[1, 10, 300]),
            "protocol.max_detections of boxes is another",
        ),
        ("run/verdict.json", lambda d: d.update(verdict="REPLICATED"), "verdict is 'NOT COMPAR"),
        (
            "run/verdict.json",
            lambda d: d["achieved"].update({"box AP": 22.2}),
            "achieved.box AP is",
        ),
        ("run/environment.json", lambda d: d.update(python=3), "$.python: 3 is not of type"),
        ("run/environment.json", lambda d: d.update(python="3.12"), "of another environment.json"),
    ],
)
def test_a_forged_file_does_not_follow_from_the_others(
    bundled, drawn, tmp_path, name, change, told
):
    found = claim.verify(_forged(bundled, tmp_path, name, change), drawn[0])
    assert any(told in each for each in found.differences), found.text()


def test_a_forged_page_does_not_follow_from_report_json(bundled, drawn, tmp_path):
    """report.md is what a person reads; every hash that lists it is mended."""
    from replicate import contracts
    from tfrecords import checked_json

    def forge(members):
        name = "run/report/report.md"
        members[name] = members[name].replace(b"NOT COMPARABLE", b"REPLICATED")
        listed = checked_json.unsealed(json.loads(members["claim.json"]))
        listed = contracts.opened(listed, "claim.json")
        listed["files"][name] = contents.sha256(members[name])
        members["claim.json"] = contents.text_of(listed)

    found = claim.verify(_repacked(bundled, tmp_path, forge), drawn[0])
    assert found.differences == ["run/report/report.md: not what report.json gives"]


@pytest.mark.parametrize(
    ("claimed", "again", "told"),
    [
        ({"a": 1}, {"a": 1, "new": False}, []),  # an older kit's, which had no such field
        ({"a": 1}, {"a": 1, "new": None}, []),
        ({"a": 1}, {"a": 1, "new": True}, ["f.new is True, claimed was None"]),
        ({"a": 1, "old": True}, {"a": 1, "old": False}, ["f.old is False, claimed was True"]),
        ({"a": 1, "old": True}, {"a": 1}, ["f.old is None, claimed was True"]),
    ],
)
def test_a_field_that_an_older_kit_had_not_is_no_difference(claimed, again, told):
    assert verifying._moved(claimed, again, "f") == told


def test_another_groundtruth_is_told(bundled, drawn, tmp_path):
    document = read_json(drawn[0])
    document["annotations"][0]["bbox"][2] += 1
    write_json(tmp_path / "truth.json", document)
    found = claim.verify(bundled[0], tmp_path / "truth.json")
    assert any("is not the groundtruth that was claimed" in each for each in found.differences)
    same = read_json(drawn[0])
    (tmp_path / "same.json").write_text(json.dumps(same))
    again = claim.verify(bundled[0], tmp_path / "same.json")
    assert not again.differences
    assert any("with the same images and annotations" in each for each in again.notes)


def test_what_cannot_be_checked_is_a_difference(bundled, drawn, tmp_path):
    """Other images than the claim's, and a file that its list does not miss."""
    from replicate import contracts
    from tfrecords import checked_json

    document = read_json(drawn[0])
    document["images"][0]["id"] = 10**6
    for annotation in document["annotations"]:
        if annotation["image_id"] not in {each["id"] for each in document["images"]}:
            annotation["image_id"] = 10**6
    write_json(tmp_path / "others.json", document)
    (difference,) = claim.verify(bundled[0], tmp_path / "others.json").differences
    assert "others.json: is not the groundtruth that was claimed" in difference

    def forge(members):
        del members["run/verdict.json"]
        listed = checked_json.unsealed(json.loads(members["claim.json"]))
        listed = contracts.opened(listed, "claim.json")
        del listed["files"]["run/verdict.json"]
        members["claim.json"] = contents.text_of(listed)

    found = claim.verify(_repacked(bundled, tmp_path, forge), drawn[0])
    (difference,) = found.differences
    assert difference.startswith("cannot be checked to its end: run/verdict.json")


def test_what_cannot_be_bundled_is_told(run, tmp_path):
    (run.report / "report.json").unlink()
    with pytest.raises(UserError, match=r"tools/report.py --run_dir="):
        claim.bundle(run.root, tmp_path / "c.tar.gz")
    report.write(run)
    made = run.report / "report.json"
    older = {name: value for name, value in read_json(made).items() if name != "sources"}
    made.write_text(json.dumps(older))
    with pytest.raises(UserError, match=r"of an older kit.* tools/report.py --run_dir="):
        claim.bundle(run.root, tmp_path / "c.tar.gz")
    report.write(run)
    changed = read_json(run.verdict)
    write_json(run.verdict, changed | {"notes": ["another"]})
    with pytest.raises(UserError, match=r"older than verdict.json"):
        claim.bundle(run.root, tmp_path / "c.tar.gz")
    causes = [changed["likely_causes"][0] | {"cause": "nobody's", "source": "w" * 5000}]
    write_json(run.verdict, changed | {"likely_causes": changed["likely_causes"] + causes})
    report.write(run)
    with pytest.raises(UserError, match="decided anew it differs") as caught:
        claim.bundle(run.root, tmp_path / "c.tar.gz")
    count = len(changed["likely_causes"])
    told = f'(likely_causes has {count} entries, claimed were {count + 1} (gone: "nobody\'s"))'
    assert told in str(caught.value) and len(str(caught.value)) < 900
    write_json(run.verdict, changed)
    report.write(run)
    detections = run.eval_at(200) / "detections.json.gz"
    detections.rename(tmp_path / "kept")
    with pytest.raises(UserError, match=r"detections.json.gz: gone since the report was made"):
        claim.bundle(run.root, tmp_path / "c.tar.gz")
    (tmp_path / "kept").rename(detections)
    run.verdict.unlink()
    with pytest.raises(UserError, match=r"tools/verdict.py"):
        claim.bundle(run.root, tmp_path / "c.tar.gz")


@pytest.mark.slow
def test_the_run_on_tiny_coco(shared, tmp_path):
    """A real run: converted, trained a few steps, evaluated, judged, reported, bundled."""
    folder = shared / "coco" / "tiny"
    data = {
        split: (folder / "annotations" / f"instances_{split}2017.json", folder / f"{split}2017")
        for split in ("train", "val")
    }
    overrides = {
        "model.ssd.image_resizer.fixed_shape_resizer.height": 96,
        "model.ssd.image_resizer.fixed_shape_resizer.width": 96,
        "model.ssd.feature_extractor.depth_multiplier": 0.35,
        "train_config.batch_size": 2,
    }
    done = run_tool(replicate_command(data, tmp_path / "run", overrides, num_steps=4))
    assert done.returncode == 0, done.stderr
    bundled = tmp_path / "claim.tar.gz", claim.bundle(tmp_path / "run", tmp_path / "claim.tar.gz")
    empty = tmp_path / "empty"
    empty.mkdir()
    truth = data["val"][0]
    asked = f"--annotations_file={truth}"
    verified = _tool("verify_claim", bundled[0], asked, cwd=empty)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    test_one_byte_of_each_file_in_turn(bundled, (truth,), tmp_path)


@pytest.mark.parametrize("given", ["", "abc", "z" * 64])
def test_a_hash_that_is_none_passes_nothing(bundled, drawn, given, tmp_path):
    """An empty variable of a job is no answer."""
    asked = (bundled[0], f"--annotations_file={drawn[0]}", f"--sha256={given}")
    done = _tool("verify_claim", *asked, cwd=tmp_path)
    assert done.returncode == 2 and "64 digits of 0-9a-f" in done.stderr
