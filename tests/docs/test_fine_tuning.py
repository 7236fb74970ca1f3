"""The worked example of docs/how-to-fine-tune.md, its commands as they stand."""

import json
import re

import pytest

from replicate.run import RunDir, read_json
from tests.docs import blocks, commands
from tests.docs.workspace import shell

DOCUMENT = "docs/how-to-fine-tune.md"


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_worked_example(tmp_path):
    """From 60 images and a checkpoint of the kit's own to an exported model with the run's AP."""
    said = {}
    for block in blocks.of(DOCUMENT):
        for command in block.commands():
            if not any(
                reason is commands.WORKED_EXAMPLE
                for (document, start), reason in commands.NOT_RUN.items()
                if document == DOCUMENT and command.startswith(start)
            ):
                continue
            done = shell(tmp_path, command, timeout=3600)
            allowed = (0, 1) if "--reference" in command else (0,)
            assert done.status in allowed, f"{command}\n{done.output[-6000:]}"
            assert "Traceback" not in done.output
            said[command] = done.output
    assert len(said) == 6
    run = RunDir.existing(tmp_path / "runs" / "shapes")
    (score,) = run.scores_at(200)
    assert score["annotations"]["images"] == 40 and score["annotations"]["categories"] == 3
    assert (
        len(json.loads((tmp_path / "mine/annotations/instances_train.json").read_text())["images"])
        == 60
    )
    start = read_json(run.start)
    assert 0 < start["matched"] == start["variables"]  # the whole feature extractor
    assert start["others"] > 0  # what predicts from it
    # One checkpoint has one number: the exported model's AP is the run's.
    exported = read_json(tmp_path / "shapes.json")["metrics"]["bbox"]["AP"]
    assert exported == pytest.approx(score["metrics"]["AP"], abs=1e-6)
    assert score["metrics"]["AP"] > 0.02  # it learned something
    # Nothing printed holds it against COCO or the zoo's figure.
    for command, output in said.items():
        if "--purpose=finetune" in command:
            verdict = output[output.index("verdict: ") :]
            assert not re.search("published|val2017|train2017|COCO|zoo's table", verdict), verdict
    decided = read_json(tmp_path / "runs" / "shapes" / "verdict.json")
    assert decided["verdict"] == "NO REFERENCE"
    again = read_json(tmp_path / "runs" / "shapes-seed1" / "verdict.json")
    assert again["reference"]["given"] == [str(tmp_path / "runs" / "shapes")]
    assert again["figures"]["box AP"]["method"] == "paired over the images"
