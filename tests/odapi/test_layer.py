"""The layer itself: it acts only where it is asked to, and says clearly when it cannot."""

import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

NO_TRACE = """
import os, sys
before = dict(os.environ), list(sys.meta_path), sys.path[:]
import numpy
names = set(dir(numpy))
from replicate import odapi
assert (dict(os.environ), list(sys.meta_path), sys.path) == before
assert set(dir(numpy)) == names
assert not any(name.split(".")[0] in ("tensorflow", "object_detection") for name in sys.modules)
"""
KERAS_3_STAYS = """
from replicate import odapi
import tensorflow as tf
assert tf.keras.Model.__module__.startswith("keras.")
import tensorflow.compat.v1 as tf1
assert not hasattr(tf1, "estimator")
"""
KERAS_3_BEFORE = """
import tensorflow as tf
assert tf.keras.Model.__module__.startswith("keras.")
from replicate import odapi
try:
    odapi.load()
except odapi.LoadError as error:
    print(error)
import sys
assert "object_detection" not in sys.modules
"""
ROOM_AFTER_KERAS_3 = """
import tensorflow as tf
assert tf.keras.Model.__module__.startswith("keras.")
from replicate import errors
try:
    import replicate.train
except errors.UserError as error:
    print(error)
"""
KERAS_2_BEFORE = """
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tensorflow as tf
from replicate import odapi
odapi.load()
from object_detection.builders import model_builder
assert tf.keras.Model.__module__.startswith("tf_keras.")
"""
TWICE = """
import sys
from replicate import odapi
odapi.load()
finders, import_state = list(sys.meta_path), set(sys.modules)
odapi.load()
assert sys.meta_path == finders and set(sys.modules) == import_state
import tensorflow as tf
assert tf.keras.Model.__module__.startswith("tf_keras.")
from object_detection import model_lib_v2, exporter_lib_v2
"""
PROTOS_ALONE = """
import sys
from replicate import odapi
pipeline = odapi.protos.load("pipeline")
assert "tensorflow" not in sys.modules and "tf_keras" not in sys.modules
config = pipeline.TrainEvalPipelineConfig()
from google.protobuf import text_format
text_format.Parse("train_config { batch_size: 7 optimizer { use_moving_average: false } }", config)
assert config.train_config.batch_size == 7
assert config.train_config.HasField("optimizer")
assert not config.train_config.HasField("num_steps")
assert config.train_config.use_bfloat16 is False
from google.protobuf.internal import api_implementation
assert api_implementation.Type() == "upb"
from object_detection.protos import center_net_pb2
task = center_net_pb2.CenterNet.KeypointEstimation()
task.keypoint_label_to_std["nose"] = 0.25
again = center_net_pb2.CenterNet.KeypointEstimation.FromString(task.SerializeToString())
assert dict(again.keypoint_label_to_std) == {"nose": 0.25}
assert odapi.protos.load("pipeline") is pipeline
"""
PACKAGE_MISSING = """
import sys
sys.modules["tf_keras"] = None
from replicate import odapi
try:
    odapi.load()
except odapi.LoadError as error:
    print(error)
"""

WEIGHTS_OUT_OF_REACH = """
import os, tempfile
os.environ["HOME"] = tempfile.mkdtemp()
os.environ["https_proxy"] = os.environ["HTTPS_PROXY"] = "http://127.0.0.1:1"
from replicate import config, errors, odapi
model = config.template("centernet_resnet101_v1_fpn_512x512_coco17_tpu-8").model
model.center_net.feature_extractor.type = "mobilenet_v2_fpn_sep_conv"
try:
    odapi.build_model(model, is_training=False)
except errors.UserError as error:
    print(error)
"""

COMPILED = """
import ctypes, pathlib
from replicate import odapi
odapi.load()
import tensorflow as tf
tf.function(lambda x: x + 1, jit_compile=True)(tf.ones(2))
framework = pathlib.Path(tf.__file__).with_name("libtensorflow_framework.so.2")
print("level", ctypes.CDLL(str(framework))._ZN4absl12lts_2025012711MinLogLevelEv())
"""


def in_new_process(code, log_level="3", notices=False):
    """Runs `code` in a process of its own and gives what it printed; with `notices` on stderr too.

    `log_level` is TF_CPP_MIN_LOG_LEVEL.
    """
    environment = {
        name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"
    }
    environment["TF_CPP_MIN_LOG_LEVEL"] = log_level
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr if notices else done.stdout


@pytest.mark.parametrize(
    "code",
    [NO_TRACE, KERAS_3_STAYS, KERAS_2_BEFORE, TWICE, PROTOS_ALONE],
    ids=["no trace", "keras 3 stays", "keras 2 before", "twice", "protos alone"],
)
def test_in_a_process_of_its_own(code):
    in_new_process(code)


@pytest.mark.parametrize(
    "code, said",
    [
        (KERAS_3_BEFORE, ["Keras 3", "before", "odapi.load()", "TF_USE_LEGACY_KERAS=1"]),
        (ROOM_AFTER_KERAS_3, ["Keras 3", "before", "odapi.load()", "TF_USE_LEGACY_KERAS=1"]),
        (PACKAGE_MISSING, ["tf_keras", "pip install -r requirements.txt"]),
        (WEIGHTS_OUT_OF_REACH, ["cannot fetch", "mobilenet_v2_weights", "~/.keras/models"]),
    ],
    ids=["keras 3 before", "a room after keras 3", "a package missing", "weights out of reach"],
)
def test_says_what_to_do(code, said):
    message = in_new_process(code)
    for words in said:
        assert words in message


@pytest.mark.parametrize(("log_level", "held_to"), [("0", 0), ("1", 1), ("3", 2)])
def test_the_log_level_holds_for_abseil_s_log_too_and_errors_stay(log_level, held_to):
    told = in_new_process(COMPILED, log_level, notices=True)
    assert f"level {held_to}" in told
    assert ("Compiled cluster using XLA" in told) == ("InitializeLog" in told) == (held_to == 0)


def test_every_proto_module_of_the_api_is_built():
    import pathlib

    from replicate.odapi import protos

    folder = pathlib.Path(protos.load("pipeline").__spec__.origin).parent
    names = sorted(path.name.removesuffix("_pb2.py") for path in folder.glob("*_pb2.py"))
    assert len(names) > 30
    for name in names:
        module = protos.load(name)
        assert module.DESCRIPTOR.name == f"object_detection/protos/{name}.proto"
        for message in module.DESCRIPTOR.message_types_by_name:
            assert getattr(module, message)().IsInitialized
