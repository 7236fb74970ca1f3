"""The planned learning rate of TF-Vision's schedules, against the package's own."""

import pytest

from replicate import odapi

odapi.load()

from replicate import engine
from replicate.tfvision import official_task, render

_RATE = "trainer.optimizer_config.learning_rate"
_WARM = "trainer.optimizer_config.warmup"
CASES = {
    "stepwise": {},
    "cosine": {f"{_RATE}.type": "cosine", f"{_RATE}.cosine.initial_learning_rate": "0.2"}
    | {f"{_RATE}.cosine.decay_steps": "900", f"{_RATE}.cosine.alpha": "0.1"},
    "cosine, offset": {f"{_RATE}.type": "cosine", f"{_RATE}.cosine.initial_learning_rate": "0.2"}
    | {f"{_RATE}.cosine.decay_steps": "900", f"{_RATE}.cosine.offset": "60"},
    "exponential": {f"{_RATE}.type": "exponential", f"{_RATE}.exponential.decay_rate": "0.9"}
    | {
        f"{_RATE}.exponential.initial_learning_rate": "0.2",
        f"{_RATE}.exponential.staircase": "true",
    }
    | {f"{_RATE}.exponential.decay_steps": "70"},
    "polynomial": {f"{_RATE}.type": "polynomial", f"{_RATE}.polynomial.decay_steps": "700"}
    | {f"{_RATE}.polynomial.initial_learning_rate": "0.2", f"{_RATE}.polynomial.power": "0.9"},
    "constant": {f"{_RATE}.type": "constant", f"{_RATE}.constant.learning_rate": "0.03"},
    "polynomial warm-up": {f"{_WARM}.type": "polynomial", f"{_WARM}.polynomial.warmup_steps": "50"}
    | {f"{_WARM}.polynomial.power": "2.0"},
}


@pytest.mark.parametrize("case", CASES)
def test_rates_are_the_packages(case):
    from official.modeling import optimization

    request = render.RenderRequest(num_steps=1000, overrides=list(CASES[case].items()))
    config = render.render("retinanet_mobilenetv2_256", request)
    held = official_task.experiment(config).trainer.optimizer_config
    rate = optimization.OptimizerFactory(held).build_learning_rate()
    steps = [0, 1, 6, 7, 8, 49, 50, 51, 69, 70, 71, 500, 940, 950, 951, 983, 984, 1000]
    planned, marks, kind = engine.schedule(config, steps)
    assert planned == pytest.approx([float(rate(step)) for step in steps], rel=1e-5, abs=1e-8)
    assert len(set(planned)) > 2
    assert marks[0] == [0, "start"] and marks[-1] == [1000, "end of training"]
    assert kind == case.split(",")[0] if "warm-up" not in case else "stepwise"
