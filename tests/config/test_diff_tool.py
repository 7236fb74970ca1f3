"""tools/diff_config.py: exit status, mistakes, sources, forms; it imports no TensorFlow."""

import html
import json
import os
import re
import subprocess
import sys
import tarfile

import pytest

from replicate import config
from replicate.config import view
from tests.config.conftest import FPNLITE
from tests.conftest import PROJECT

KEYPOINTS = "centernet_resnet50_v2_512x512_kpts_coco17_tpu-8"


def run_tool(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "tools/diff_config.py", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def written(tmp_path, *pairs):
    message = config.template(FPNLITE)
    for path, value in pairs:
        config.set_field(message, path, value)
    path = tmp_path / "pipeline.config"
    path.write_text(config.to_text(message))
    return path


@pytest.mark.parametrize(
    "pairs, status",
    [
        ([], 0),
        ([("train_input_reader.label_map_path", "/x")], 0),
        ([("train_config.use_bfloat16", "false")], 0),
        ([("train_config.use_bfloat16", "true")], 1),
        ([("train_config.num_steps", "1")], 1),
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_exit_status(tmp_path, pairs, status, form):
    done = run_tool(FPNLITE, written(tmp_path, *pairs), f"--format={form}")
    assert (done.returncode, done.stderr) == (status, "")
    for path, _ in pairs:
        assert path in done.stdout.replace("<wbr>", "")
    if form == "json":
        answer = json.loads(done.stdout)
        assert answer["same"] == (status == 0) and len(answer["operations"]) == len(pairs)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([FPNLITE], "give two configs"),
        ([FPNLITE, "ssd_mobilenet_v2"], "unknown zoo model 'ssd_mobilenet_v2'"),
        ([FPNLITE, "nowhere.config"], "nowhere.config: no such file"),
        # a path that ends in a model's name is no model
        ([FPNLITE, f"nowhere/{FPNLITE}"], f"nowhere/{FPNLITE}: no such file"),
        ([FPNLITE, f"{FPNLITE}.tar.gz"], f"{FPNLITE}.tar.gz: no such file"),
        ([FPNLITE, "tests"], "no pipeline.config in this folder"),
        ([FPNLITE, "extremenet"], "only the released archive"),
    ],
)
def test_mistakes(arguments, told):
    done = run_tool(*arguments)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr


def test_a_misspelled_field_is_told_with_its_place(tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_text("model {\n  ssd {\n    num_clases: 3\n  }\n}\n")
    done = run_tool(FPNLITE, path)
    assert done.returncode == 2
    assert f"{path}:3:5: no field 'num_clases' in Ssd; did you mean num_classes?" in done.stderr


def test_sources_may_be_a_file_a_folder_and_an_archive(tmp_path):
    path = written(tmp_path, ("train_config.num_steps", "7"))
    archive = tmp_path / f"{FPNLITE}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(path, arcname=f"{FPNLITE}/pipeline.config")
    for source in (path, tmp_path, archive):
        assert config.read(source).train_config.num_steps == 7
    assert run_tool(tmp_path, archive).returncode == 0
    assert run_tool(FPNLITE, archive).returncode == 1


def test_a_run_directory_may_be_named_like_a_model(tmp_path, monkeypatch):
    written(tmp_path, ("train_config.num_steps", "7"))
    tmp_path.rename(tmp_path.parent / FPNLITE)
    monkeypatch.chdir(tmp_path.parent)
    assert config.read(FPNLITE).train_config.num_steps == 7


def test_colour_only_where_it_is_wanted():
    operations = config.diff(config.template(FPNLITE), config.template(KEYPOINTS))
    assert "\033[" not in view.text(operations)
    coloured = view.text(operations, colour=True)
    assert re.sub(r"\033\[\d+m", "", coloured) == view.text(operations)
    # piped output is plain
    assert "\033[" not in run_tool(FPNLITE, KEYPOINTS).stdout


def test_html_is_one_page_and_escaped(tmp_path):
    path = written(tmp_path, ("train_config.fine_tune_checkpoint_type", "<script>&"))
    page = run_tool(FPNLITE, path, "--format=html").stdout
    assert "<script>" not in page and "&lt;script&gt;&amp;" in page
    assert html.unescape(page).count("<script>&") == 1
    assert not re.search(r"(src|href)=", page)


def test_unset_fields_show_their_default():
    message = config.template(FPNLITE)
    message.train_config.ClearField("num_steps")
    message.train_config.ClearField("batch_size")
    shown = view.text(config.diff(config.template(FPNLITE), message))
    assert "train_config.batch_size: 128 -> unset (32)" in shown
    assert "train_config.num_steps: 50000 -> unset (0)" in shown


TOOL = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(loaded & {{"tensorflow", "tf_keras", "keras"}}), file=sys.stderr)
"""
ROOM = """
import sys
from replicate import config, zoo
a, b = (config.template(row.archive) for row in zoo.rows()[:2])
assert config.apply(a, config.diff(a, b)) == b
config.deviations(config.render({model!r}, num_gpus=2), {model!r})
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(loaded & {{"tensorflow", "tf_keras", "keras", "numpy", "requests", "msgspec"}}))
"""


def in_new_process(code):
    return subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "argv",
    [
        ["tools/diff_config.py", FPNLITE, KEYPOINTS],
        ["tools/zoo.py", "list"],
        ["tools/zoo.py", "show", FPNLITE],
        ["tools/lint_config.py", "{tmp}/lint.config"],
        ["tools/show_schedule.py", FPNLITE],
        ["tools/render_config.py", f"--model={FPNLITE}", "--output={tmp}/x.config"],
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_no_tool_imports_tensorflow(tmp_path, argv):
    (tmp_path / "lint.config").write_text(config.to_text(config.template(FPNLITE)))
    argv = [each.replace("{tmp}", str(tmp_path)) for each in argv]
    assert in_new_process(TOOL.format(argv=argv)).stderr.strip() == "[]"


def test_the_room_imports_nothing_heavy():
    """A diff answers about as fast as Python starts: not even numpy is imported."""
    done = in_new_process(ROOM.format(model=FPNLITE))
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
