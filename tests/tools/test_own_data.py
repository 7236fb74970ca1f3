"""Fine-tuning on real images: from annotation files to the verdict against an earlier run.

coco/tiny cut to five categories; the detector to start from is a small one, trained for a few
steps on drawn shapes. Every line printed and every word of the page is read for what is of COCO's
figure and not of this one.
"""

import json
import re
import sys

import pytest

from replicate.demo import drawing
from replicate.run import RunDir, read_json
from tests.docs.workspace import SMALL
from tests.tools.running import PROJECT, replicate_command, run_tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CATEGORIES = ("person", "bottle", "car", "carrot", "chair")
STEPS = 12
# What a fine-tuning would be misled by, wherever it stands.
MISLEADING = (
    *("val2017's 5,000", "val2017 has", "train2017's", "of train2017", "the published figure"),
    *("zoo's table", "the zoo publishes", "19 mAP", "num_classes=90", "train_config.num_steps="),
    *(
        "differences from the published",
        "published with",
        "published on",
        "NOT COMPARABLE",
        "No module named",
    ),
    *("replication claim", "another run", "What may explain the gap", "Traceback"),
)


def cut(tiny, folder):
    """The annotation files of the five categories, ids 1 to 5: dict split -> (file, images)."""
    data = {}
    for split in ("train", "val"):
        coco = json.loads((tiny / "annotations" / f"instances_{split}2017.json").read_text())
        kept = [each for each in coco["categories"] if each["name"] in CATEGORIES]
        ids = {each["id"]: number for number, each in enumerate(kept, 1)}
        coco["categories"] = [each | {"id": ids[each["id"]]} for each in kept]
        coco["annotations"] = [
            each | {"category_id": ids[each["category_id"]]}
            for each in coco["annotations"]
            if each["category_id"] in ids
        ]
        file = folder / f"instances_mine_{split}.json"
        file.write_text(json.dumps(coco))
        data[split] = file, tiny / f"{split}2017"
    return data


@pytest.fixture(scope="module")
def runs(shared, tmp_path_factory):
    """A base detector, a first fine-tuning from it, and a second one held against the first."""
    root = tmp_path_factory.mktemp("own")
    drawn = drawing.draw(root / "drawn", train_images=24, val_images=8)
    base = run_tool(
        replicate_command(
            drawn, root / "base", SMALL, num_steps=STEPS, checkpoint_every_n=STEPS, seed=3
        ),
        timeout=1800,
    )
    assert base.returncode in (0, 3), base.stderr[-4000:]
    data = cut(shared / "coco" / "tiny", root)
    found = {}
    for name, more in (
        ("first", {}),
        ("second", {"seed": 1, "reference": root / "first"}),
        ("third", {"seed": 1, "reference": "AP=0.5", "reference_on": "this", "margin": 1}),
    ):
        command = replicate_command(
            *(data, root / name, {}),
            model=root / "base",
            purpose="finetune",
            fine_tune_checkpoint=root / "base" / "checkpoints" / f"ckpt-{STEPS}",
            num_steps=STEPS,
            checkpoint_every_n=STEPS,
            **more,
        )
        command.remove("--rehearsal")
        if name == "first":  # once with preflight's trial
            command.remove("--notrial")
        found[name] = RunDir.at(root / name), run_tool(command, timeout=1800)
    return found


def test_a_first_run_is_not_judged(runs):
    run, done = runs["first"]
    assert done.returncode == 0, done.stderr[-4000:]
    assert "verdict: NO REFERENCE" in done.stdout and "--reference=RUN" in done.stdout
    assert read_json(run.verdict)["verdict"] == "NO REFERENCE"
    page = (run.report / "report.md").read_text()
    assert page.startswith("# NO REFERENCE: first")


def test_a_second_run_is_held_against_the_first(runs):
    run, done = runs["second"]
    assert done.returncode in (0, 1), done.stderr[-4000:]
    decided = read_json(run.verdict)
    figure = decided["figures"]["box AP"]
    (first,) = runs["first"][0].scores_at(STEPS)
    assert figure["published"] == pytest.approx(100 * first["metrics"]["AP"])
    assert figure["method"] == "paired over the images"
    assert decided["conditions"]["answer"] == "as the reference"  # but for the seed
    assert decided["reference"]["kind"] == "runs"
    again = run_tool([sys.executable, str(PROJECT / "tools/verdict.py"), str(run.root)])
    assert again.returncode == done.returncode  # the reference is remembered
    assert again.stdout.splitlines()[0] in done.stdout


def test_a_figure_that_was_missed(runs):
    run, done = runs["third"]
    assert done.returncode == 1
    assert "verdict: NOT REPLICATED (against the figures given (box AP 50), one run)" in done.stdout


@pytest.mark.parametrize("name", ("first", "second", "third"))
def test_no_line_misleads(runs, name):
    run, done = runs[name]
    page = re.sub("<style.*?</style>|<script.*?</script>", "", _read(run, "index.html"), flags=re.S)
    page = page.partition('<h2 id="again">')[0]  # there stands the checkout's own diff
    markdown = _read(run, "report.md").partition("## Do it again")[0]
    for text in (done.stdout, done.stderr, markdown, page):
        for words in MISLEADING:
            around = text[max(0, text.find(words) - 200) : text.find(words) + 200]
            assert words not in text, around


def _read(run, name):
    return (run.report / name).read_text(encoding="utf-8")
