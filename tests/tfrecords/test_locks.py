"""An output has one writer at a time: who holds it is told, and what the dead held is free."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

import tfrecords
from tfrecords import conversion, locks, manifest, whole_files
from tfrecords.errors import InputError
from tfrecords.whole_files import written_whole

PROJECT = pathlib.Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from tfrecords import locks
with locks.held(sys.argv[1], "the test"):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the lock of the path; gives it once it does."""
    processes = []

    def start(path):
        command = [sys.executable, "-c", HOLD, str(path)]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_the_holder_is_told(holder, tmp_path):
    process = holder(tmp_path / "out")
    with (
        pytest.raises(
            InputError, match=f"the conversion is being written by process {process.pid} on"
        ),
        locks.held(tmp_path / "out", "the conversion"),
    ):
        raise AssertionError("held by two")
    with locks.held(tmp_path / "other", "the conversion"):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_is_free(holder, tmp_path, number):
    process = holder(tmp_path / "out")
    process.send_signal(number)
    process.wait()
    assert os.listdir(tmp_path), "the dead left their lock's file"
    with locks.held(tmp_path / "out", "the test"), locks.held(tmp_path / "out", "again"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_stopped_process_holds_it_still(holder, tmp_path):
    process = holder(tmp_path / "out")
    process.send_signal(signal.SIGSTOP)
    with (
        pytest.raises(InputError, match="being written by process"),
        locks.held(tmp_path / "out", "x"),
    ):
        pass
    process.send_signal(signal.SIGCONT)


def test_waiting_says_so_and_gets_it(holder, tmp_path, capsys):
    process = holder(tmp_path / "out")
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {process.pid}"])
    with locks.held(tmp_path / "out", "the evaluation", wait=True):
        assert f"process {process.pid}" in capsys.readouterr().err


def test_conversions_at_once(dataset, tmp_path):
    """The second is refused; stopping it takes nothing from the first, whose bytes are whole."""
    images, annotations = dataset.images, dataset.annotations
    tfrecords.convert(annotations, images, tmp_path / "whole", 6, progress=False)
    command = [
        *(sys.executable, str(PROJECT / "tools" / "create_coco_tf_record.py"), "--num_shards=6"),
        *(f"--annotations_file={annotations}", f"--image_dir={images}"),
        *(f"--output_path={tmp_path / 'out'}", "--num_workers=1"),
    ]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=300)[1] for process in both]
    codes = [process.returncode for process in both]
    assert set(codes) <= {0, 2} and 0 in codes, errors
    for code, error in zip(codes, errors, strict=True):
        assert code == 0 or re.search(r"is being written by (process|another)", error), error
    shard = lambda name, index: (tmp_path / f"{name}-{index:05d}-of-00006.tfrecord").read_bytes()  # noqa: E731
    assert [shard("out", i) for i in range(6)] == [shard("whole", i) for i in range(6)]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_partial_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    script = (
        "import sys, os, time\nfrom tfrecords.whole_files import written_whole\n"
        "with written_whole(sys.argv[1]) as f:\n f.write('x'); f.flush(); print(1, flush=True)\n"
        " time.sleep(100)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "dead[1].txt")]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
    process.stdout.readline()
    with written_whole(tmp_path / "mine.txt") as mine:
        whole_files.clean(tmp_path)
        assert len(os.listdir(tmp_path)) == 2
        process.kill()
        process.wait()
        (tmp_path / "sub").mkdir()
        whole_files.clean(tmp_path, "other")
        assert len(os.listdir(tmp_path)) == 3
        whole_files.clean(tmp_path, "dead[1]")
        assert len(os.listdir(tmp_path)) == 2
        mine.write("x")
    assert sorted(os.listdir(tmp_path)) == ["mine.txt", "sub"]


def test_what_a_dead_conversion_left_beside_its_shards_goes_too(tmp_path):
    """Manifest, ledger, journal and mended annotations are named for their kind, then for it."""
    output_path = str(tmp_path / "val")
    script = (
        "import contextlib, sys, time\nfrom tfrecords.whole_files import written_whole\n"
        "with contextlib.ExitStack() as files:\n"
        " for path in sys.argv[1:]:\n  files.enter_context(written_whole(path))\n"
        " print(1, flush=True)\n time.sleep(100)"
    )
    paths = [
        f"{output_path}-00000-of-00001.tfrecord",
        manifest.path_of(output_path),
        manifest.ledger_path_of(output_path),
        manifest.beside(output_path, "progress", ".jsonl"),
        conversion.mended_path_of(output_path),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *paths, str(tmp_path / "train.json")],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    process.kill()
    process.wait()
    assert len(os.listdir(tmp_path)) == len(paths) + 1
    manifest.clean(output_path)
    (other,) = os.listdir(tmp_path)
    assert other.startswith(".train.json")
