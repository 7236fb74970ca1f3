"""pytest plugin for the Object Detection API's own tests: the layer, and what they rely on.

Beside the layer it gives the tests what they had in their day and the API itself does without:
flags that are parsed, data files of the source repository that the package leaves out,
pretrained weights (here: none, the tests look at shapes alone), two CPU devices, `np.string_`,
and `int()` of an array with one element, which numpy no longer converts since 2.4.
"""

import collections
import functools
import json
import os
import pathlib
import sys
import tempfile

import numpy as np
import pytest
from absl import flags

from replicate import odapi

odapi.load()

import tensorflow as tf
from tensorflow.python.framework import ops

from replicate.run import write_json
from tests.odapi import api_data
from tests.odapi.api_suite import package

_files = json.loads(os.environ["API_SUITE_FILES"])
_kept = pathlib.Path(os.environ["API_SUITE_KEPT"])
_results = collections.defaultdict(dict)
_scratch = tempfile.TemporaryDirectory()


def pytest_configure(config):
    flags.FLAGS([sys.argv[0]])
    cpu, *_ = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    _give_data_files(pathlib.Path(_scratch.name) / "object_detection")
    _give_no_weights()
    np.string_ = np.bytes_
    ops.EagerTensor.__int__ = lambda tensor: int(np.asarray(tensor).reshape(()))


def _give_data_files(folder):
    """Lets tests find data files in `folder` instead of the installed package."""
    api_data.write(folder)
    os.chdir(folder.parent)

    def get_data_files_path():
        caller = pathlib.Path(sys._getframe(1).f_code.co_filename)
        return str(folder / caller.parent.relative_to(package()))

    tf.compat.v1.resource_loader.get_data_files_path = get_data_files_path


def _give_no_weights():
    for api in (tf, tf.compat.v1):
        applications = api.keras.applications
        build = functools.partial(_build_without_weights, applications.MobileNetV2)
        applications.MobileNetV2 = build


def _build_without_weights(build, *args, **kwargs):
    return build(*args, **{**kwargs, "weights": None})


def pytest_collectreport(report):
    if report.failed:
        _results[report.nodeid.partition("::")[0]][report.nodeid] = "failed"


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _results[report.nodeid.partition("::")[0]][report.nodeid] = report.outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    result = yield
    if nextitem is not None and nextitem.path != item.path:
        _keep(item.nodeid.partition("::")[0])
    return result


def pytest_sessionfinish(exitstatus):
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        for path in _files:
            _keep(path)


def _keep(path):
    write_json(_kept / f"{path}.json", _results[path])
