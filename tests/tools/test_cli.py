"""What all tools do alike: paths that fail, faults of the kit, stray words, names with controls."""

import errno
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from replicate.demo import drawing
from replicate.plain import plain
from tfrecords import whole_files

PROJECT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
RAISE = "exec('import os; raise OSError({0}, os.strerror({0}))')"
# A tool whose work is to meet what --what names.
TOOL = """
\"\"\"Meets a fault.\"\"\"
import sys
sys.path.insert(0, {project!r})
from absl import flags
from tools import cli
WHAT = flags.DEFINE_string("what", "", "an expression that raises.")
flags.DEFINE_multi_string("set", [], "PATH=VALUE, as the tools' own.")
REHEARSAL = flags.DEFINE_bool("rehearsal", False, "as the tools' own.")
def main({words}):
    eval(WHAT.value)
    print("rehearsal", REHEARSAL.value)
if __name__ == "__main__":
    cli.run(main)
"""


@pytest.fixture
def tool(tmp_path):
    """Runs the tool, whose `main` takes words or does not."""

    def run(*arguments, words="_", **options):
        path = tmp_path / "meets.py"
        path.write_text(TOOL.format(project=str(PROJECT), words=words))
        return subprocess.run(
            [sys.executable, path, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"TMPDIR": str(tmp_path)} | options,
        )

    return run


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("open('/nowhere/a')", "/nowhere/a: No such file or directory"),
        ("open('/')", "/: Is a directory"),
        ("open('/etc/passwd/a')", "/etc/passwd/a: Not a directory"),
        ("open('/tmp/' + 'a' * 300)", "File name too long"),
        ("open('/dev/full', 'w', buffering=1).write('a' * 99 + chr(10))", "No space left"),
        *(
            (RAISE.format(number), word)
            for number, word in (
                (errno.ENOSPC, "free some space"),
                (errno.EROFS, "Read-only file system"),
                (errno.EACCES, "permissions"),
                (errno.EFBIG, "File too large"),
                (errno.EIO, "check it"),
                (errno.EDQUOT, "quota"),
            )
        ),
    ],
)
def test_a_path_that_fails_is_told_with_status_2(tool, what, said):
    done = tool(f"--what={what}")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_fault_of_the_kit_has_its_own_status_and_a_log(tool, tmp_path):
    done = tool("--what=1 / 0 or 'https://me:planted@host/'")
    assert done.returncode == 70
    assert "a fault of the kit, not of yours: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    (log,) = tmp_path.glob("*.log")
    assert str(log) in done.stderr and "please report it" in done.stderr
    text = log.read_text()
    assert "Traceback" in text and "ZeroDivisionError" in text and "meets.py" in text
    assert "planted" not in text + done.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--rehearsal", "false"], "did you mean --norehearsal?"),
        (["--norehearsal", "true"], "did you mean --norehearsal?"),
        (["--rehearsal", "yes"], "did you mean --rehearsal?"),
        (["what=a"], "did you mean --what=a?"),
        (["waht=a"], "did you mean --what=a?"),
        (["stray"], "unexpected: stray"),
        (["--set", "a.b", "4"], "did you mean --set=a.b=4?"),
    ],
)
def test_a_stray_word_is_refused_with_what_was_meant(tool, arguments, meant):
    done = tool(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert meant in done.stderr and "--help" in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("convert_annotations", ["--from=coco", "--fix=nosuch"], "did you mean --input={file}?"),
        ("convert_annotations", ["--input=a", "--output=b"], "did you mean --input={file}?"),
        ("score", [], "a file is given with its flag: --annotations_file, --detections"),
        ("score", ["--detections=a"], "did you mean --annotations_file={file}?"),
    ],
)
def test_a_file_without_its_flag_is_told_which(name, arguments, said, tmp_path):
    (file := tmp_path / "a.json").write_text("{}")
    command = [sys.executable, PROJECT / "tools" / f"{name}.py", *arguments, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"unexpected: {file}" in done.stderr
    assert said.format(file=file) in done.stderr


def test_a_tool_that_takes_words_gets_them(tool):
    assert tool("stray", "--what=1", words="words").stdout == "rehearsal False\n"
    done = tool("stray", "--rehearsal", "false", "--what=1", words="words")
    assert done.returncode == 2 and "did you mean --norehearsal?" in done.stderr


@pytest.mark.parametrize(
    "tool_name", sorted(each.name for each in (PROJECT / "tools").glob("*.py"))
)
def test_a_folder_as_output_is_taken_by_the_tools_that_write_one(tool_name):
    """And by no other: cli refuses it there before the work."""
    text = (PROJECT / "tools" / tool_name).read_text()
    for name in ("output", "html"):
        output = re.search(rf'DEFINE_string\(\s*"{name}",.*?"([^"]*)"\s*\)', text, re.S)
        if output:
            assert ("folder" in output[1]) == (f'folders=["{name}"]' in text), output[1]


@pytest.mark.parametrize(
    "tool_name", sorted(each.name for each in (PROJECT / "tools").glob("*.py"))
)
def test_every_tool_refuses_words_or_uses_them(tool_name):
    """A parameter named `_` is refused words; one with another name is read."""
    text = (PROJECT / "tools" / tool_name).read_text()
    found = re.search(r"^def main\((\w+)(?:: [^)]*)?\)", text, re.M)
    if found and found[1] != "_":
        assert len(re.findall(rf"\b{found[1]}\b", text[found.end() :])) >= 1


def test_words_for_a_runner_without_a_runner_are_refused(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "tools" / "create_coco_tf_record.py", "false"),
            *("--annotations_file=a", "--image_dir=b", "--output_path=c", "--num_shards=1"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "unexpected: false" in done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dog\x1b[2J", "dog\\x1b[2J"),
        ("a\0b\x07\x08", "a\\x00b\\x07\\x08"),
        ("über\tzwei\nZeilen", "über\tzwei\nZeilen"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("\udce9", "\\udce9"),
    ],
)
def test_controls_are_shown(text, shown):
    assert plain(text) == shown


def test_names_with_controls_reach_no_terminal(tmp_path):
    """A category's name in a score, an image's in a message."""
    folder = tmp_path / "drawn"
    splits = drawing.draw(folder, train_images=1, val_images=2)
    path = pathlib.Path(splits["val"][0])
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = "disc\x1b[2J\x1b]0;title\x07"
    path.write_text(json.dumps(document))
    (tmp_path / "none.json").write_text("[]")
    score = [sys.executable, PROJECT / "tools" / "score.py", f"--annotations_file={path}"]
    found = subprocess.run([*score, f"--detections={tmp_path / 'none.json'}"], capture_output=True)
    assert b"\x1b" not in found.stdout + found.stderr and b"\x07" not in found.stdout
    document["categories"][0]["name"] = "disc"
    document["images"][0]["file_name"] = "gone\x1b[31m.jpg"
    path.write_text(json.dumps(document))
    convert = [
        *(sys.executable, PROJECT / "tools" / "create_coco_tf_record.py", "--num_shards=1"),
        *(f"--annotations_file={path}", f"--image_dir={splits['val'][1]}"),
        f"--output_path={tmp_path / 'x'}",
    ]
    told = subprocess.run(convert, capture_output=True)
    assert told.returncode == 2 and b"gone\\x1b[31m.jpg" in told.stderr


@pytest.mark.parametrize("output", ["/etc/passwd/a/p.config", "/", "/proc/nothing/p.config"])
def test_an_output_that_cannot_be_written(output):
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "tools" / "render_config.py", f"--model={MODEL}"),
            f"--output={output}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert output in done.stderr and "partial" not in done.stderr


@pytest.mark.parametrize(
    ("tool_name", "flag"),
    [("score", "output"), ("benchmark", "detections_output"), ("compare_runs", "output")],
)
def test_an_output_is_tried_before_the_work(tool_name, flag, tmp_path):
    """Nothing of the input is there, and yet it is the output that is told."""
    (tmp_path / "file").write_text("")
    missing = {
        "score": ["--annotations_file=/nowhere/a.json", "--detections=/nowhere/b.json"],
        "benchmark": ["--annotations_file=/nowhere/a.json", "--model=/nowhere/b.json"],
        "compare_runs": ["/nowhere"],
    }
    for output in ("/proc/.x/a.json", f"{tmp_path}/file/a.json"):
        done = subprocess.run(
            [
                *(sys.executable, PROJECT / "tools" / f"{tool_name}.py"),
                *(*missing[tool_name], f"--{flag}={output}"),
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and f"--{flag}: {output}: " in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("there", [True, False])
def test_trying_an_output_leaves_it_as_it_is(tmp_path, there):
    path = tmp_path / "a" / "b.json"
    if there:
        path.parent.mkdir()
        path.write_text("kept")
    whole_files.refuse_unwritable(path)
    assert path.exists() == path.parent.exists() == there
    assert not there or path.read_text() == "kept" and len(list(path.parent.iterdir())) == 1


def test_a_failed_write_names_the_path_that_was_asked_for():
    with pytest.raises(OSError) as raised, whole_files.written_whole("/proc/x.json"):
        pass
    assert raised.value.filename == "/proc/x.json"


def test_detections_are_given_to_the_benchmark_as_its_model():
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / "benchmark.py", "--detections=a.json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "--model=FILE" in done.stderr
    assert "detections_output" not in done.stderr


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["lint_config", "{}"],
        ["diff_config", MODEL, "{}"],
        ["render_config", "--model={}", "--output={}.config"],
        ["render_config", f"--model={MODEL}", "--output={}"],
        ["score", "--annotations_file={}", "--detections={}"],
        ["create_coco_tf_record", "--annotations_file={}", "--image_dir=.", "--output_path={}.r/s"]
        + ["--num_shards=1"],
    ],
    ids=lambda each: " ".join(each[:2]),
)
def test_a_pipe_or_device_is_refused_and_stays_what_it_is(pipe, command):
    """A pipe would be waited for without end, /dev/zero fills the memory, a rename replaces both"""
    tool, *arguments = command
    arguments = [each.format(pipe) for each in arguments]
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / f"{tool}.py", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert str(pipe) in done.stderr and "Traceback" not in done.stderr
    assert pipe.is_fifo() and [each.name for each in pipe.parent.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    "asked",
    [
        ("meets.py", "--help"),
        ("meets.py", "--version"),
        ("meets.py", "--what=print('a' * 100_000)"),
        ("-m", "replicate"),
        ("-m", "replicate", "--version"),
    ],
)
def test_a_reader_that_has_gone_is_no_fault(tool, tmp_path, asked):
    """As of `… | head -1`: the pipe has no other end any more."""
    tool("--help")  # writes the tool's file
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, *asked],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--detections=d.json", "--output=t.json"], "t.json is read too (--annotations_file)"),
        (["--detections=d.json", "--output=d.json"], "d.json is read too (--detections)"),
        (["--detections=d.json", "--output=link.json"], "link.json is read too"),
        (["--detections=d.json", "--output=run/identity.json"], "belongs to a run"),
    ],
)
def test_what_is_read_is_not_written_over(tmp_path, arguments, told):
    for name in ("t.json", "d.json", "run/spec.json", "run/identity.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link.json").symlink_to("d.json")
    done = subprocess.run(
        [sys.executable, PROJECT / "tools/score.py", "--annotations_file=t.json", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and told in done.stderr
    assert all((tmp_path / name).read_text() == name for name in ("t.json", "d.json"))


def test_two_outputs_of_one_name_are_refused(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "tools/evaluate.py", "--checkpoint=a", "--output=x.json"),
            "--metrics_output=./x.json",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "are both ./x.json; one would be lost" in done.stderr


def test_a_reader_that_has_gone_changes_neither_answer_nor_output(tmp_path):
    """`… | grep -q` reads a line: a gate that asks for the status is not passed by that."""
    truth, output = tmp_path / "truth.json", tmp_path / "metrics.json"
    image = {"id": 1, "height": 90, "width": 90, "file_name": "1.jpg"}
    cat = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    categories = [{"id": 1, "name": "cat"}]
    truth.write_text(
        json.dumps({"images": [image], "categories": categories, "annotations": [cat]})
    )
    found = tmp_path / "found.json"
    found.write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 9], "score": 0.5}])
    )
    reading, writing = os.pipe()
    os.close(reading)
    for command in (
        ["diff_config.py", MODEL, "ssd_mobilenet_v2_320x320_coco17_tpu-8"],
        [
            *("score.py", f"--annotations_file={truth}", f"--detections={found}"),
            *("--at_least=AP=0.99", f"--output={output}"),
        ],
    ):
        done = subprocess.run(
            [sys.executable, PROJECT / "tools" / command[0], *command[1:]],
            stdout=writing,
            timeout=120,
        )
        assert done.returncode == 1
    os.close(writing)
    assert 0 < json.loads(output.read_text())["metrics"]["AP"] < 0.99


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["score", "--annotations_file=a.json", "--detections=b.json", "--samples=2"], "samples=2"),
        (["score", "--annotations_file=a", "--detections=b", "--bootstrap=59"], "samples=59"),
        (["compare_runs", "runs/a", "--samples=1"], "samples=1"),
        (["explain", "runs/a", "runs/b", "--samples=20"], "samples=20"),
        (["publish", "runs/a", "--format=eee", "--output=e.json", "--samples=5"], "samples=5"),
        (["benchmark", "--model=a", "--annotations_file=b", "--all_forms", "--samples=5"], "=5"),
    ],
)
def test_intervals_of_too_few_resamples_are_refused_before_the_work(command, said):
    tool = PROJECT / "tools" / f"{command[0]}.py"
    done = subprocess.run([sys.executable, tool, *command[1:]], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{said}: an interval wants 60 or more (0: no intervals)" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["replicate", "--model=m", "--train_annotations=a", "--train_images=b", "--val_images=c"],
        ["preflight", "--model=m"],
        ["train", "--pipeline_config_path=p"],
        ["launch", "--target=local", "--dry_run", "--model=m", "--val_images=c"],
        ["report"],
        ["score", "--annotations_file=a.json", "--detections=b.json"],
        ["benchmark", "--model=a", "--annotations_file=b", "--image_dir=c"],
        ["compare_runs", "runs/a"],
        ["inspect_pipeline", "--pipeline_config_path=p"],
        ["download", "coco"],
        ["export", "--trained_checkpoint_dir=a", "--pipeline_config_path=a"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("below", [False, True])
def test_a_file_where_a_folder_is_wanted_is_told_before_the_work(command, below, tmp_path):
    flag = {
        **{"train": "model_dir", "score": "plots", "benchmark": "pictures", "download": "dest"},
        **{"compare_runs": "output", "inspect_pipeline": "output", "export": "output_directory"},
    }.get(command[0], "run_dir")
    (tmp_path / "own.json").write_text("{}")
    path = "own.json/a/b" if below else "own.json"
    asked = [*command, f"--{flag}={path}"]
    if command[0] in ("replicate", "launch"):
        asked += ["--val_annotations=d", "--train_annotations=a", "--train_images=b"]
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / f"{asked[0]}.py", *asked[1:]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    what = f"{tmp_path / 'own.json'} is" if below else "it is"
    told = f"--{flag}: {path}: {what} a file; a folder is wanted, one that is there or a new name"
    assert done.returncode == 2 and told in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["own.json"]
