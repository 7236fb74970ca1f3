"""Others' re-evaluations: the figures as their author gives them, and what they come to."""

import csv
import json
import re
import statistics
import subprocess
import sys

import pytest

from replicate import verdict, zoo
from tests.conftest import PROJECT
from tests.verdict.made import metrics


def test_figures_are_the_sources(shared):
    with open(shared / "tf1zoo/independent_reruns.csv", newline="") as lines:
        published = list(csv.DictReader(lines))
    assert len(published) == 80
    assert [
        (each.zoo, each.model, each.measured, each.runtime, each.dataset, each.note, each.source)
        for each in zoo.all_reruns()
    ] == [
        (
            *(line["zoo"], line["model"], float(line["measured"]), line["runtime"]),
            *(line["dataset"], line["notes"], line["source"]),
        )
        for line in published
    ]
    # The gap is the kit's own subtraction; the source has one too.
    assert [each.gap for each in zoo.all_reruns()] == [
        float(line["diff"]) if line["diff"] else None for line in published
    ]


def test_published_is_what_the_registry_says():
    for each in zoo.all_reruns():
        row = zoo.get(each.model)
        if each.zoo == "tf2" and each.published is not None:
            assert row.box_map == each.published, each.model


def test_gaps_by_resizer():
    """14 models that are resized to a fixed shape, 20 that keep the aspect ratio."""
    gaps = zoo.gaps_by_resizer()
    assert (gaps["fixed"].models, gaps["fixed"].least, gaps["fixed"].most) == (14, -0.10, -1.06)
    keep = gaps["keep_aspect"]
    assert (keep.models, keep.least, keep.most) == (20, -0.78, -9.71)
    assert gaps["fixed"].below == 14 and keep.below == 20
    # By hand for one family: Faster R-CNNs of one backbone at two resizers.
    by_model = {each.model: each.gap for each in zoo.all_reruns() if each.runtime.startswith("Sav")}
    assert by_model["faster_rcnn_resnet101_v1_1024x1024_coco17_tpu-8"] == -0.54
    assert by_model["faster_rcnn_resnet101_v1_800x1333_coco17_gpu-8"] == -5.15
    found = [gap for name, gap in by_model.items() if zoo.get(name).resizer == "keep_aspect"]
    assert keep.median == round(statistics.median(found), 2)


def test_reruns_of_a_model():
    first, second = zoo.reruns("SSD MobileNet V2 FPNLite 320x320")
    assert (first.measured, first.gap) == (22.1, -0.1)
    assert (second.measured, second.gap) == (21.97, -0.23)
    assert str(first).startswith("22.10, 0.10 below (SavedModel, TF 2.4.1, V100, batch 1; COCO ")
    (doubted,) = zoo.reruns("centernet_mobilenetv2fpn_512x512_coco17_od")
    assert "4.19 above" in str(doubted) and "inference error" in str(doubted)
    # Of the TF1 zoo and of EfficientDet-Lite the names are others'.
    assert zoo.reruns("ssd_mobilenet_v2_coco") == () == zoo.reruns("nothing of the kind")


@pytest.mark.parametrize(("kind", "count"), [("checkpoint", 2), ("training", 0)])
def test_the_verdict_of_a_checkpoint_mentions_them(kind, count):
    """The same weights evaluated again; of a training they say nothing."""
    row = zoo.find("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8")
    decided = verdict.decide(row, metrics(22.0), kind=kind)
    said = [note for note in decided.notes if note.startswith("re-evaluated by others: box AP 2")]
    assert len(said) == count
    assert ("22.10, 0.10 below" in decided.text()) is (kind == "checkpoint")
    # They are no tolerance: 22.00 is 0.20 below 22.2, near for a checkpoint.
    if kind == "checkpoint":
        assert decided.verdict == "NEAR"


def _tool(*arguments):
    done = subprocess.run(
        [sys.executable, "tools/zoo.py", *arguments], cwd=PROJECT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tool_shows_them():
    text = _tool("show", "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8")
    assert "re-evaluated by others: 22.10, 0.10 below (SavedModel" in text
    summary = _tool("reruns")
    assert "fixed         14  0.10 to 1.06 below, median 0.56" in summary
    assert "keep_aspect   20  0.78 to 9.71 below, median 3.35" in summary
    records = json.loads(_tool("reruns", "--format=json"))
    assert len(records["reruns"]) == 80 and records["gaps"]["fixed"]["models"] == 14


def test_the_case_study_has_the_commands_figures():
    page = (PROJECT / "docs/replications.md").read_text()
    gaps = zoo.gaps_by_resizer()
    for resizer in ("fixed", "keep_aspect"):
        each = gaps[resizer]
        row = re.search(
            rf"^\| `{resizer}` \| (\d+) \| ([\d.]+) to ([\d.]+) \| ([\d.]+) \|", page, re.M
        )
        assert tuple(map(float, row.groups())) == (
            each.models,
            -each.least,
            -each.most,
            -each.median,
        )
