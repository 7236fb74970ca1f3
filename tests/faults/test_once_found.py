"""Faults that were met in use and that no series injects: one message each, nothing is lost."""

import dataclasses
import json
import multiprocessing
import re
import shutil

import pytest

from replicate import archive, config, identity, report, zoo
from replicate.run import RunDir, read_json, read_metrics, write_json
from tests.faults import series
from tests.faults.tools import PROJECT, content
from tests.report import making
from tfrecords import fetch
from tfrecords.errors import InputError

# Of metrics.jsonl: what may stand before, between and after the good lines.
BAD_LINES = {
    "null": b"null\n",
    "not UTF-8": b'{"step": 1, "losses": {"\xff\xfe": 1}}\n',
    "cut": b'{"step": 1, "losses": {"Loss/tot\n',
    "another shape": b'{"step": "one"}\n',
    "a list": b"[1, 2]\n",
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_of_the_log_costs_that_line_alone(tools, finished, tmp_path, what):
    run = RunDir.at(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    good = read_metrics(run.metrics)
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    with open(run.metrics, "wb") as file:
        file.writelines([BAD_LINES[what], *lines[:middle], BAD_LINES[what], *lines[middle:]])
    assert read_metrics(run.metrics) == good
    ended = tools.run("report", f"--run_dir={run.root}")
    assert ended.status == 0, ended.stderr
    assert f"metrics.jsonl: line 1, {middle + 2} is damaged and left out" in ended.stderr
    told = tools.run("status", run.root, "--json")
    assert told.status == 0 and json.loads(told.stdout)[0]["ap_step"] == 200


def _hold(root, what, held, done):
    with getattr(RunDir.at(root), what)():
        held.set()
        done.wait(120)


@pytest.mark.parametrize(
    ("what", "tool", "flags"),
    [
        ("writing", "train", ("--pipeline_config_path={run}/pipeline.config", "--model_dir={run}")),
        (
            *("writing", "replicate"),
            (
                *(f"--model={making.MODEL}", "--run_dir={run}", "--num_steps=2", "--rehearsal"),
                *("--train_annotations={json}", "--train_images={images}", "--notrial"),
                *("--val_annotations={json}", "--val_images={images}"),
            ),
        ),
        ("evaluating", "evaluate", ("--model_dir={run}", "--watch")),
    ],
)
def test_a_run_that_another_process_writes_is_told(
    tools, drawn, finished, tmp_path, what, tool, flags
):
    """Nothing is changed, and the message names the process."""
    root = tmp_path / "run"
    shutil.copytree(finished.root, root)
    spawned = multiprocessing.get_context("spawn")
    held, done = spawned.Event(), spawned.Event()
    holder = spawned.Process(target=_hold, args=(root, what, held, done))
    holder.start()
    try:
        assert held.wait(60)
        before = content(root, r"(^|/)\.lock")
        filled = [each.format(run=root, json=drawn[0], images=drawn[1]) for each in flags]
        ended = tools.run(tool, *filled, real=True)
    finally:
        done.set()
        holder.join()
    assert ended.status == 2 and f"process {holder.pid} on " in ended.stderr, ended.stderr
    assert content(root, r"(^|/)\.lock") == before


def test_a_run_continued_as_another_is_told_by_verdict_and_report(tools, finished, tmp_path):
    run = RunDir.at(tmp_path / "run")
    shutil.copytree(finished.root, run.root)
    now = identity.of(config.load(run.pipeline_config), 0, "float32")
    identity.keep(run, now, 0)
    identity.keep(run, now | {"seed": 7}, 100, accept=["seed"])
    said = "continued after step 100 as another run (--accept=seed): seed was 0, then 7"
    ended = tools.run("verdict", run.root, f"--output={run.verdict}")
    assert said in " ".join(ended.stdout.split()), ended
    assert tools.run("report", f"--run_dir={run.root}").status == 0
    assert said in (run.report / "report.md").read_text(encoding="utf-8").replace("\\", "")


def test_a_config_of_a_hundred_megabytes_is_not_read(tools, tmp_path):
    path = tmp_path / "pipeline.config"
    with open(path, "wb") as file:
        file.truncate(100_000_000)  # zeros, as a crash leaves them
    for tool in (("diff_config", making.MODEL, path), ("lint_config", path)):
        ended = tools.run(*tool)
        assert ended.status == 2 and "100 MB; a pipeline.config" in ended.stderr, ended.stderr


def test_more_halves_than_can_be_drawn_are_refused(tools, drawn, finished):
    asked = series.writers(drawn, finished)["score"]("unused")
    ended = tools.run(*asked[:-2], asked[-1], f"--bootstrap={10**12}")
    assert ended.status == 2 and "100000" in ended.stderr, ended.stderr


def test_controls_in_a_name_reach_no_page(tmp_path):
    """Of a category, in every text of a report, where they are shown."""
    drawn = making.groundtruth(tmp_path / "drawn", images=2)
    run = making.run_directory(tmp_path / "run", *drawn, steps=(100,))
    path = run.eval_at(100) / "metrics.json"  # conversion refuses such names
    metrics = read_json(path)
    names = ["disc\x1b[2J", "square\x07", "triangle\x9b31m"]
    for category, name in zip(metrics["per_category"], names, strict=True):
        category["name"] = name
    write_json(path, metrics)
    report.write(run)
    for path in (run.report / "report.md", run.report / "index.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), path
    assert "disc\\x1b[2J" in text


def test_an_archive_is_held_against_the_registrys_hash(tmp_path):
    """Where one is recorded; without one, the first download's holds."""
    row = dataclasses.replace(zoo.find(making.MODEL), url="http://nowhere.invalid/a.tar.gz")
    path = tmp_path / f"{row.archive}.tar.gz"
    path.write_bytes(b"other bytes")
    with pytest.raises(InputError, match="is there already, but its sha256 is"):
        archive.fetch(dataclasses.replace(row, sha256="0" * 64), tmp_path)
    known = archive.sha256(path)
    assert archive.fetch(dataclasses.replace(row, sha256=known), tmp_path) == path


@pytest.mark.parametrize(
    "address", ["http://me:planted@127.0.0.1:1", "http://127.0.0.1:1/a?token=planted1234"]
)
def test_an_address_with_a_password_is_told_without(tmp_path, address):
    """Where nobody answers: neither in the message nor in what is noted beside the download."""
    with pytest.raises(InputError, match=r"127\.0\.0\.1") as told:
        fetch.fetch(address, tmp_path / "a.zip", attempts=1, wait_s=0.001, progress=False)
    assert "planted" not in str(told.value)
    assert not any(b"planted" in path.read_bytes() for path in tmp_path.rglob("*"))


_PLANTED = "https:/me:planted@nowhere.invalid/x"


@pytest.mark.parametrize(
    ("tool", "flag"),
    [
        *(("bundle", "output"), ("render_config", "output"), ("render_config", "deviations")),
        *(("train", "model_dir"), ("replicate", "run_dir"), ("demo", "folder")),
        *(("create_coco_tf_record", "output_path"), ("create_coco_tf_record", "label_map")),
        *(("score", "plots"), ("benchmark", "pictures"), ("export", "output_directory")),
        *(("download", "dest"), ("report", "tracker_dir"), ("evaluate", "metrics_output")),
    ],
)
@pytest.mark.parametrize(
    "address", [_PLANTED, _PLANTED.replace(":/", "://"), f"out/{_PLANTED}", "s3://bucket/x"]
)
def test_an_address_is_no_output(tools, tool, flag, address):
    """Taken for a path it would make folders of its parts, a password in their names."""
    before = sorted(PROJECT.iterdir())
    ended = tools.run(tool, f"--{flag}={address}")
    assert ended.status == 2 and f"--{flag}: {address.split(':')[0]}:/" in ended.stderr, ended
    assert "an address; a path on this machine is wanted" in ended.stderr
    assert "planted" not in ended.stdout + ended.stderr
    assert sorted(PROJECT.iterdir()) == before
