"""What is frozen keeps its weights and its batch norm's statistics; the rest is trained."""

import numpy as np
import pytest

from replicate import odapi
from replicate.errors import UserError
from replicate.execution import Execution


@pytest.fixture(scope="module")
def trainer_of(even_config):
    odapi.load()
    from replicate.train.trainer import Trainer

    config = type(even_config)()
    config.CopyFrom(even_config)
    config.model.ssd.freeze_batchnorm = False

    def make(freeze, **more):
        trainer = Trainer(config, Execution(seed=3, freeze=freeze, **more))
        trainer.build_variables()
        return trainer

    return make


def changed_by_training(trainer, steps=2):
    """Names of the variables, statistics among them, that training changes."""
    before = {variable.name: variable.numpy() for variable in trainer.model.variables}
    trainer.train(steps)
    return {
        variable.name
        for variable in trainer.model.variables
        if not np.array_equal(variable.numpy(), before[variable.name])
    }


def backbone_names(trainer):
    from replicate.train import starting_point

    parts = trainer.model.restore_from_objects(fine_tune_checkpoint_type="classification")
    return {v.name for part in starting_point.modules_of(parts) for v in part.variables}


def test_a_frozen_backbone(trainer_of):
    trainer = trainer_of("backbone")
    backbone = backbone_names(trainer)
    changed = changed_by_training(trainer)
    assert any("moving_mean" in name for name in backbone) and len(backbone) > 100
    assert not changed & backbone
    assert any("moving_mean" in name for name in changed)  # of what is trained
    assert any("kernel" in name for name in changed)
    assert trainer.describe_execution()["freeze"] == "backbone"


def test_a_pattern(trainer_of):
    trainer = trainer_of("BoxPredictor|moving_mean$")
    changed = changed_by_training(trainer)
    assert changed and not any("BoxPredictor" in name for name in changed)


def test_without_it_the_backbone_is_trained(trainer_of):
    trainer = trainer_of("")
    backbone = backbone_names(trainer)
    assert len(changed_by_training(trainer) & backbone) > 0.9 * len(backbone)


@pytest.mark.parametrize(
    "pattern, told",
    [
        ("nowhere", "found in the name of none of the"),
        ("(", "no regular expression"),
        (".*", "nothing is left to train"),
    ],
)
def test_mistakes(trainer_of, pattern, told):
    with pytest.raises(UserError, match=told):
        trainer_of(pattern)
