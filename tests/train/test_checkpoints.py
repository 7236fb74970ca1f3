"""Checkpoints: verified, fallen back from, pruned."""

import pytest

from replicate import checkpoint_files, odapi

odapi.load()

import tensorflow as tf

from replicate.errors import UserError
from replicate.train import checkpoints


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of steps 10, 20 and 30, the variable holding the step."""
    variable = tf.Variable(tf.zeros([1000]))
    saver = checkpoints.Saver(tf.train.Checkpoint(v=variable), tmp_path, max_to_keep=3)
    for step in (10, 20, 30):
        variable.assign(tf.fill([1000], float(step)))
        saver.save(step)
    return tmp_path, variable, saver


def _damage(path, how):
    data = next(path.parent.glob(f"{path.name}.data-*"))
    content = bytearray(data.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 0xFF
    elif how == "cut":
        content = content[:-100]
    elif how == "zeroed":
        content[100:300] = bytes(200)
    data.write_bytes(content)


def test_the_last_good_one_is_taken(saved):
    folder, variable, _ = saved
    path = checkpoints.latest_good(folder)
    assert path == checkpoint_files.path_of(folder, 30)
    assert checkpoints.verify(path) is None
    variable.assign(tf.zeros([1000]))
    tf.train.Checkpoint(v=variable).restore(path)
    assert set(variable.numpy()) == {30.0}


@pytest.mark.parametrize("how", ["flipped", "cut", "zeroed"])
def test_a_damaged_last_one_falls_back_to_the_one_before(saved, how):
    folder, _, _ = saved
    _damage(folder / "ckpt-30", how)
    assert checkpoints.verify(str(folder / "ckpt-30")) is not None
    assert checkpoints.latest_good(folder) == checkpoint_files.path_of(folder, 20)


def test_all_damaged_is_none(saved):
    folder, _, _ = saved
    for step in (10, 20, 30):
        _damage(folder / f"ckpt-{step}", "flipped")
    assert checkpoints.latest_good(folder) is None


def test_only_the_last_few_are_kept(saved):
    folder, _, saver = saved
    saver.save(40)
    assert checkpoint_files.steps_of(folder) == [20, 30, 40]


def test_a_checkpoint_half_written_is_not_seen(tmp_path):
    (tmp_path / "ckpt-50.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "ckpt-tmp.index").write_bytes(b"")
    assert checkpoint_files.steps_of(tmp_path) == []
    assert checkpoints.latest_good(tmp_path) is None


def test_a_disk_that_refuses_names_the_last_good_one(saved, monkeypatch):
    folder, _, saver = saved

    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(saver._manager, "save", full)
    with pytest.raises(UserError, match="No space left.*last good checkpoint is that of step 30"):
        saver.save(40)
    assert checkpoints.latest_good(folder) == checkpoint_files.path_of(folder, 30)
