"""Every variable of a released checkpoint exists in the model of its published config."""

import pytest

from replicate import odapi
from replicate.parity import fixed

RELEASED = {
    "ssd_mobilenet_v2_320x320_coco17_tpu-8": "ssd_mobilenet_v2_320x320_coco17_tpu-8",
    "efficientdet_d0_coco17_tpu-32": "ssd_efficientdet_d0_512x512_coco17_tpu-8",
}
BOOKKEEPING = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"}


@pytest.mark.parametrize("archive", RELEASED)
def test_variables_are_the_released_ones(shared, archive, tmp_path):
    odapi.load()
    import tensorflow as tf
    from object_detection.builders import model_builder
    from object_detection.utils import config_util

    released = {}
    for line in (shared / "zoo" / "index" / archive / "ckpt-0.vars.txt").read_text().splitlines():
        name, shape, dtype = line.split("\t")
        released[name] = (shape, dtype)

    path = shared / "zoo" / "configs" / f"{RELEASED[archive]}.config"
    config = config_util.get_configs_from_pipeline_file(str(path))["model"]
    model = model_builder.build(config, is_training=False)
    model.predict(*model.preprocess(tf.constant(fixed.image(64, 64))))
    written = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    reader = tf.train.load_checkpoint(written)
    dtypes = reader.get_variable_to_dtype_map()
    ours = {
        name: (str(shape), dtypes[name].name)
        for name, shape in reader.get_variable_to_shape_map().items()
    }
    assert len(released) > 300
    for table in (released, ours):
        for name in BOOKKEEPING:
            table.pop(name, None)
    assert ours == released
