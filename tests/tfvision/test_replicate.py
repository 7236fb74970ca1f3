"""TF-Vision through tools/replicate.py: from annotation files to a report, killed on the way."""

import sys

import pytest

from replicate import checkpoint_files, engine
from replicate.run import RunDir, read_json, read_metrics
from tests.tools.running import (
    PROJECT,
    checkpoint_tensors,
    kill_when,
    outcome,
    replicate_command,
    run_tool,
)

STEPS, EVERY = 8, 4
# What the recipe reads at 640 pixels, 64 images a step, made for two cores.
MASK_RCNN = {
    "task.model.input_size": "[128, 128, 3]",
    "task.model.roi_generator.num_proposals": 64,
    "task.model.roi_sampler.num_sampled_rois": 32,
    "task.model.mask_sampler.num_sampled_masks": 32,
    "task.train_data.global_batch_size": 2,
    "task.train_data.shuffle_buffer_size": 50,
    "task.train_data.dtype": "float32",
    "task.validation_data.dtype": "float32",
    # A random model scores little; 8 steps teach it nothing, and something is to be compared.
    "task.model.detection_generator.pre_nms_score_threshold": 0.001,
    "task.model.detection_generator.max_num_detections": 10,
    "trainer.optimizer_config.learning_rate.stepwise.values": "[0.01, 0.001, 0.0001]",
    "trainer.optimizer_config.warmup.linear.warmup_learning_rate": 0.001,
    "trainer.optimizer_config.warmup.linear.warmup_steps": 4,
}


@pytest.fixture(scope="module")
def tiny(shared):
    folder = shared / "coco" / "tiny"
    return {
        split: (folder / "annotations" / f"instances_{split}2017.json", folder / f"{split}2017")
        for split in ("train", "val")
    }


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_killed_mask_rcnn_goes_on_and_is_evaluated_for_boxes_and_masks(tiny, tmp_path):
    """On a CPU a run that is killed -9 and started again ends bit for bit as one that is not."""

    def command(run):
        flags = {"model": "maskrcnn_resnet50fpn_640", "include_masks": True, "seed": 1}
        flags |= {"num_steps": STEPS, "checkpoint_every_n": EVERY}
        return replicate_command(tiny, run.root, MASK_RCNN, **flags)

    whole, killed = RunDir.at(tmp_path / "whole"), RunDir.at(tmp_path / "killed")
    # The checkpoint of step 4 is there, training goes on.
    there = lambda: (killed.checkpoints / f"ckpt-{EVERY}.index").exists()  # noqa: E731
    assert kill_when(command(killed), there, timeout=1200) < 0
    assert checkpoint_files.steps_of(killed.checkpoints) == [EVERY]
    assert not killed.evals.exists()
    done = run_tool(command(killed), timeout=1500)
    assert done.returncode == 0, done.stderr
    assert run_tool(command(whole), timeout=1500).returncode == 0
    assert outcome(killed.root) == outcome(whole.root)
    name = f"ckpt-{STEPS}"
    assert checkpoint_tensors(killed, name) == checkpoint_tensors(whole, name)

    assert killed.evaluated_steps() == [EVERY, STEPS]
    scores = killed.scores_at(STEPS)
    assert [each["iou_type"] for each in scores] == ["bbox", "segm"]
    assert all(each["metrics"]["AP"] is not None for each in scores)
    logged = read_metrics(killed.metrics)[-1]
    assert logged["step"] == STEPS and logged["losses"]["Loss/mask_loss"] > 0
    # After 8 steps nothing scores as high any more.
    found = read_json(killed.eval_at(EVERY) / "detections.json.gz")
    assert len(found) > 100 and all("segmentation" in each for each in found)
    published = read_json(killed.verdict)["published"]
    assert published == {"box AP": 42.3, "mask AP": 37.6}
    assert engine.of(engine.of_run(killed.config)) == engine.TFVISION
    assert "mask" in (killed.report / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_demo_is_learnt(tmp_path):
    """From drawn annotation files to a report: the AP that docs/tfvision.md promises."""
    command = [sys.executable, str(PROJECT / "tools" / "demo.py"), "--engine=tfvision"]
    done = run_tool([*command, f"--folder={tmp_path}"], timeout=2900)
    assert done.returncode == 0, done.stderr
    run = RunDir.at(tmp_path / "run-tfvision")
    assert run.evaluated_steps() == [300, 600]
    (scored,) = run.scores_at(600)
    assert scored["metrics"]["AP"] >= 0.25
    assert (run.report / "index.html").is_file()
    assert "verdict: NOT COMPARABLE" in done.stdout
