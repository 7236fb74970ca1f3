"""What is asked of a made launch: which documented reason differs from the sound one's."""

from replicate import config as configs

DATA = ("train_annotations", "train_images", "val_annotations", "val_images")
RATE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


def statuses(results):
    return {number: result.status for number, result in results.items()}


_SOUND = {}  # the results of the sound launch, the same for every test


def caught(told, sound, made, number, *words, status="fail", beside=()):
    """Asserts that `made` differs from `sound` in this reason alone, and says these words."""
    if not _SOUND:
        _SOUND.update(told(sound))
    before, after = _SOUND, told(made)
    assert before[number].status == "pass", before[number]
    assert after[number].status == status, after[number]
    for word in words:
        assert word in f"{after[number].seen} → {after[number].fix}", after[number]
    assert after[number].fix or status != "fail"
    others = {n for n in before if before[n].status != after[n].status} - {number}
    assert others <= set(beside), {n: after[n] for n in others}
    return after[number]


def with_checkpoint(recipe, tmp_path):
    """The recipe, starting from a classification checkpoint."""
    message = configs.load(recipe)
    message.train_config.fine_tune_checkpoint = "PATH_TO_BE_CONFIGURED/mobilenet_v2.ckpt-1"
    path = tmp_path / "with_checkpoint.config"
    path.write_text(configs.to_text(message))
    return path
