"""Every variable of a released checkpoint exists in the model of its published config."""

import pytest

from replicate import config, odapi
from replicate.parity import fixed
from tests.odapi import recording

RELEASED = {
    "ssd_mobilenet_v2_320x320_coco17_tpu-8": "ssd_mobilenet_v2_320x320_coco17_tpu-8",
    "efficientdet_d0_coco17_tpu-32": "ssd_efficientdet_d0_512x512_coco17_tpu-8",
}
BOOKKEEPING = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter"}


def recorded(archive):
    return recording.variables((recording.RECORDED / f"{archive}.txt").read_text())


@pytest.mark.parametrize("archive", RELEASED)
def test_the_record_is_that_of_the_released_checkpoint(shared, archive):
    released = (shared / "zoo/index" / archive / "ckpt-0.vars.txt").read_text()
    assert recorded(archive) == recording.variables(released)


@pytest.mark.parametrize("archive", RELEASED)
def test_variables_are_the_released_ones(archive, tmp_path):
    odapi.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    released = recorded(archive)
    model = model_builder.build(config.template(RELEASED[archive]).model, is_training=False)
    model.predict(*model.preprocess(tf.constant(fixed.image(64, 64))))
    written = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    reader = tf.train.load_checkpoint(written)
    dtypes = reader.get_variable_to_dtype_map()
    ours = recording.variables(
        "\n".join(
            f"{name}\t{shape}\t{dtypes[name].name}"
            for name, shape in reader.get_variable_to_shape_map().items()
        )
    )
    assert len(released) > 300
    for table in (released, ours):
        for name in BOOKKEEPING:
            table.pop(name, None)
    assert ours == released
