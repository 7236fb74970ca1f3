"""A user's mistake: exit status 2 and one message that says what, where and what to do."""

import json
import pathlib
import subprocess
import sys

import pytest

from replicate import installation
from replicate.demo import drawing

PROJECT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A drawn set whose third training image is a text file, and configs with mistakes."""
    folder = tmp_path_factory.mktemp("drawn")
    splits = drawing.draw(folder, train_images=4, val_images=2)
    (folder / "train" / "000003.jpg").write_text("not an image")
    (folder / "broken.json").write_text('{"images": [')
    (folder / "not_coco.json").write_text("[1, 2]")
    (folder / "misspelled.config").write_text("model { ssd { num_clases: 3 } }\n")
    (folder / "empty.config").write_text("model { ssd { num_classes: 3 } }\n")
    return {
        "folder": str(folder),
        "train": splits["train"][0],
        "train_images": splits["train"][1],
        "val": splits["val"][0],
        "val_images": splits["val"][1],
    }


_CONVERT = (
    "create_coco_tf_record.py --num_shards=1 --output_path={out}/x --image_dir={train_images}"
)
_REPLICATE = (
    "replicate.py --run_dir={out}/run --train_annotations={train} --train_images={train_images} "
    "--val_annotations={val} --val_images={val_images}"
)
_PREFLIGHT = _REPLICATE.replace("replicate.py", f"preflight.py --notrial --model={MODEL}")
CASES = {
    # what: (command, words of the message)
    "an unreadable image": (
        f"{_CONVERT} --annotations_file={{train}}",
        ["000003.jpg", "3"],
    ),
    "a missing image folder": (
        "create_coco_tf_record.py --num_shards=1 --output_path={out}/x --image_dir={out}/none "
        "--annotations_file={train}",
        ["{out}/none", "image"],
    ),
    "an annotation file cut off": (
        f"{_CONVERT} --annotations_file={{folder}}/broken.json",
        ["broken.json"],
    ),
    "a file that is not COCO": (
        f"{_CONVERT} --annotations_file={{folder}}/not_coco.json",
        ["not_coco.json", "COCO"],
    ),
    "an unknown model": (
        "render_config.py --model=ssd_mobilnet_v2_fpnlite_320x320 --output={out}/p.config",
        ["ssd_mobilnet_v2_fpnlite_320x320", "did you mean", MODEL],
    ),
    "an unknown model to replicate": (
        f"{_REPLICATE} --model=retinanet",
        ["retinanet", "zoo.py list"],
    ),
    "a misspelled field": (
        "train.py --pipeline_config_path={folder}/misspelled.config --model_dir={out}/m",
        ["misspelled.config", "num_clases", "num_classes"],
    ),
    "a misspelled override": (
        f"render_config.py --model={MODEL} --output={{out}}/p.config --set "
        "train_config.batchsize=8",
        ["train_config", "batchsize", "batch_size"],
    ),
    "a config without steps": (
        "train.py --pipeline_config_path={folder}/empty.config --model_dir={out}/m",
        ["num_steps"],
    ),
    "no checkpoint": (
        "evaluate.py --pipeline_config_path={folder}/empty.config --checkpoint={out} "
        "--annotations_file={val} --image_dir={val_images} --output={out}/d.json",
        ["{out}", "checkpoint"],
    ),
    "a model that cannot be built": (
        "train.py --pipeline_config_path={folder}/empty.config --model_dir={out}/m "
        "--num_train_steps=1 --force --notrial",
        ["cannot build this config's model", "diff_config.py"],
    ),
    "missing images to replicate": (
        f"{_REPLICATE} --model={MODEL}".replace("{val_images}", "{out}/none"),
        ["{out}/none", "val_images"],
    ),
    "a missing flag": (
        "score.py --annotations_file={val}",
        ["--detections", "--help"],
    ),
    "an unknown flag": (
        "score.py --anotations_file={val}",
        ["anotations_file", "--help"],
    ),
    "no detections file": (
        "score.py --annotations_file={val} --detections={out}/none.json",
        ["none.json"],
    ),
    "more steps than a config holds": (
        f"{_REPLICATE} --model={MODEL} --num_steps=99999999999",
        ["--num_steps=99999999999", "4294967295"],
    ),
    "no seed": (
        f"{_REPLICATE} --model={MODEL} --seed=99999999999999999999",
        ["--seed=99999999999999999999", "4294967295"],
    ),
    "no regular expression": (
        f"{_PREFLIGHT} --freeze=(",
        ["--freeze=(", "no regular expression"],
    ),
    "no metric": (
        f"{_PREFLIGHT} --keep_best=mAP",
        ["--keep_best=mAP", "AP50"],
    ),
    "no metric of this model": (
        f"{_PREFLIGHT} --keep_best=segm/AP",
        ["--keep_best=segm/AP", "no masks"],
    ),
    "no run directory": ("report.py --run_dir={out}", ["{out}", "spec.json"]),
}


@pytest.mark.parametrize("what", CASES)
def test_one_message_and_status_2(what, data, tmp_path):
    command, words = CASES[what]
    filled = command.format(out=tmp_path, **data).split()
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tools" / filled[0]), *filled[1:]],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word.format(out=tmp_path) in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    left = [path for path in tmp_path.rglob("*") if path.suffix in (".tfrecord", ".config")]
    left = [path for path in left if not (path.parent / "spec.json").is_file()]  # a launched run's
    assert not left, "nothing half-done under a final name"


@pytest.mark.parametrize("tool", [f"{name}.py" for name in installation.tool_names()])
def test_help_teaches(tool):
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tools" / tool), "--help"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"tools/{tool}" in done.stdout or "make demo" in done.stdout, "an example command"
    assert json.dumps(tool)[1:-1] in done.stdout
