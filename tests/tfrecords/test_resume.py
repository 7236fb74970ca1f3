"""The same bytes for any number of workers; a conversion killed at any point is continued."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

import tfrecords
from tfrecords import pool, shards
from tfrecords.errors import InputError

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "create_coco_tf_record.py"


def convert(dataset, output, num_shards=4, **options):
    return tfrecords.convert(
        dataset.annotations, dataset.images, output, num_shards, progress=False, **options
    )


def content(folder):
    """{file name: SHA-256} of a folder."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@pytest.fixture
def count_shards(monkeypatch):
    """Names of the shards that are written in this process."""
    names, real = [], shards.write

    def write(task, *arguments, **options):
        names.append(os.path.basename(task.path))
        return real(task, *arguments, **options)

    monkeypatch.setattr(shards, "write", write)
    return names


def test_bytes_do_not_depend_on_the_workers(dataset, tmp_path):
    for workers in (1, 2, 3):
        convert(dataset, tmp_path / str(workers) / "set", include_masks=True, num_workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "2") == content(tmp_path / "3")
    assert len(content(tmp_path / "1")) == 6


def test_manifest_is_true(dataset, tmp_path):
    summary = convert(dataset, tmp_path / "out" / "set")
    found = content(tmp_path / "out")
    for shard in summary.manifest["shards"]:
        assert found[shard["name"]] == shard["sha256"]
        assert (tmp_path / "out" / shard["name"]).stat().st_size == shard["bytes"]
    assert sum(shard["records"] for shard in summary.manifest["shards"]) == 7
    source = summary.manifest["source"]
    assert source["sha256"] == hashlib.sha256(dataset.annotations.read_bytes()).hexdigest()
    assert (source["images"], source["annotations"], source["crowd"]) == (7, 9, 1)
    counts = summary.manifest["counts"]
    assert (counts["images"], counts["annotations_written"], counts["crowd"]) == (7, 9, 1)


def test_finished_conversion_is_left_as_it_is(dataset, tmp_path, count_shards):
    first = convert(dataset, tmp_path / "out" / "set", num_workers=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = convert(dataset, tmp_path / "out" / "set", num_workers=1)
    assert len(count_shards) == 4 and again.reused and not first.reused
    assert again.manifest == first.manifest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


@pytest.mark.parametrize("stop_at", [0, 1, 3])
def test_interrupted_conversion_makes_missing_shards_alone(
    dataset, tmp_path, monkeypatch, count_shards, stop_at
):
    convert(dataset, tmp_path / "whole" / "set", num_workers=1)
    count_shards.clear()
    real = shards.read_image

    def interrupt(path):
        if len(count_shards) == stop_at + 1:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(shards, "read_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(dataset, tmp_path / "cut" / "set", num_workers=1)
    monkeypatch.setattr(shards, "read_image", real)
    names = [f"set-{i:05d}-of-00004.tfrecord" for i in range(4)]
    assert sorted(content(tmp_path / "cut")) == sorted([*names[:stop_at], "progress-set.jsonl"])
    count_shards.clear()
    convert(dataset, tmp_path / "cut" / "set", num_workers=1)
    assert count_shards == names[stop_at:]
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_missing_or_cut_shard_is_made_again(dataset, tmp_path, count_shards):
    convert(dataset, tmp_path / "out" / "set", num_workers=1)
    before = content(tmp_path / "out")
    (tmp_path / "out" / "set-00001-of-00004.tfrecord").unlink()
    os.truncate(tmp_path / "out" / "set-00003-of-00004.tfrecord", 100)
    count_shards.clear()
    convert(dataset, tmp_path / "out" / "set", num_workers=1)
    assert count_shards == ["set-00001-of-00004.tfrecord", "set-00003-of-00004.tfrecord"]
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("damage", ["missing", "cut", "and a shard"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_lost_ledger_is_told_and_written_again(dataset, tmp_path, capsys, damage, workers):
    """The records stay as they are."""
    dataset.document["annotations"][3]["bbox"][2] = 0  # left out, so that the ledger has a line
    dataset.write()
    first = convert(dataset, tmp_path / "out" / "set")
    before = content(tmp_path / "out")
    times = {path: pathlib.Path(path).stat().st_mtime_ns for path in first.shard_paths[1:]}
    ledger = tmp_path / "out" / "dropped-set.jsonl"
    assert '"reason": "box_empty"' in ledger.read_text()
    text = ledger.read_text()
    ledger.unlink()
    if damage == "cut":
        ledger.write_text(text[: len(text) // 2])
    elif damage == "and a shard":
        pathlib.Path(first.shard_paths[0]).unlink()
    convert(dataset, tmp_path / "out" / "set", num_workers=workers)
    assert content(tmp_path / "out") == before
    assert {path: pathlib.Path(path).stat().st_mtime_ns for path in times} == times
    assert f"{ledger}: missing or changed" in capsys.readouterr().err
    assert convert(dataset, tmp_path / "out" / "set").reused


def test_missing_shard_of_changed_images_is_told(dataset, tmp_path):
    convert(dataset, tmp_path / "out" / "set")
    (tmp_path / "out" / "set-00001-of-00004.tfrecord").unlink()
    dataset.path(1).write_bytes(dataset.path(5).read_bytes())
    with pytest.raises(InputError, match="set-00001-of-00004.tfrecord: made again, it differs"):
        convert(dataset, tmp_path / "out" / "set")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"num_shards": 2}, "num_shards 4 there, 2 now"),
        ({"include_masks": True}, "include_masks False there, True now"),
    ],
)
def test_another_conversion_is_not_overwritten(dataset, tmp_path, change, words):
    convert(dataset, tmp_path / "out" / "set")
    before = content(tmp_path / "out")
    with pytest.raises(InputError, match=words):
        convert(dataset, tmp_path / "out" / "set", **change)
    assert content(tmp_path / "out") == before


def test_unfinished_conversion_of_other_settings_is_replaced(dataset, tmp_path, monkeypatch):
    """No shard of the abandoned numbering stays behind, where a glob would find it."""
    real = shards.read_image
    monkeypatch.setattr(shards, "read_image", lambda p: real(p) if "006" not in p else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert(dataset, tmp_path / "out" / "set", num_shards=7, num_workers=1)
    monkeypatch.setattr(shards, "read_image", real)
    assert len(list((tmp_path / "out").glob("*.tfrecord"))) == 6
    convert(dataset, tmp_path / "out" / "set", num_shards=2)
    assert len(list((tmp_path / "out").glob("*.tfrecord"))) == 2


def alive(group):
    """Whether a process of the group runs; a container's first process may not reap the dead."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def kill_the_parent(process):
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def press_ctrl_c(process):
    """The terminal sends the signal to all processes of the group."""
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130


@pytest.mark.parametrize("stop", [kill_the_parent, press_ctrl_c])
def test_stopped_in_the_middle(dataset, tmp_path, stop):
    """No worker stays, and the same command ends with the same files."""
    for number in range(7):  # enough images that there is a long middle
        entry = dataset.document["images"][number]
        for copy in range(300):
            name = f"{number}-{copy}.jpg"
            os.link(dataset.path(number), dataset.images / name)
            dataset.document["images"].append(
                entry | {"id": 10_000 + 300 * number + copy, "file_name": name}
            )
    dataset.write()
    arguments = [
        *(sys.executable, TOOL, f"--annotations_file={dataset.annotations}"),
        *(f"--image_dir={dataset.images}", "--num_shards=210", "--num_workers=2"),
    ]
    command = [*map(str, arguments), f"--output_path={tmp_path / 'cut' / 'set'}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 180
    journal = tmp_path / "cut" / "progress-set.jsonl"
    while time.monotonic() < deadline:
        if journal.exists() and len(journal.read_text().splitlines()) >= 5:
            break
        time.sleep(0.005)
    stop(process)
    while alive(process.pid):  # the workers notice and go
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    if stop is press_ctrl_c:
        assert not list((tmp_path / "cut").glob("*.partial"))
    lines = journal.read_text().splitlines()
    assert 5 <= len(lines) < 211
    assert "num_shards" in json.loads(lines[0])
    assert subprocess.run(command, capture_output=True, text=True).returncode == 0
    whole = [*map(str, arguments), f"--output_path={tmp_path / 'whole' / 'set'}"]
    subprocess.run(whole, check=True, capture_output=True)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: d.path(3).write_text("no"), "003.jpg: not an image"),
        (lambda d: [p.unlink() for p in d.images.iterdir()], "7 of 7 images are missing"),
    ],
)
def test_tool_tells_a_mistake_in_one_message(dataset, tmp_path, damage, message):
    damage(dataset)
    arguments = [
        *(sys.executable, TOOL, f"--annotations_file={dataset.annotations}"),
        *(f"--image_dir={dataset.images}", f"--output_path={tmp_path}/o/s", "--num_shards=2"),
    ]
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "o").glob("*.tfrecord*")) or "003" in message


def counts_for_ever(task, count_image):
    """The work of a worker that is killed: it holds whatever there is to hold."""
    while True:
        count_image()


@pytest.mark.parametrize("attempt", range(4))
@pytest.mark.timeout(60)
def test_a_killed_worker_holds_nothing_that_the_others_wait_for(attempt):
    counted, killed, others = [], [], set(multiprocessing.active_children())

    def on_images(number):
        counted.append(number)
        if sum(counted) > 1000 and not killed:
            workers = sorted(set(multiprocessing.active_children()) - others, key=lambda w: w.pid)
            killed.append(workers[attempt % 2])
            killed[0].kill()

    with pytest.raises(InputError, match="a worker process was killed"):
        pool.run(counts_for_ever, [(0, 0), (1, 1)], 2, on_images, lambda *_: None)
    assert killed
