"""A checkpoint in the forms that others load: SavedModel, TFLite, ONNX.

    OUTPUT/saved_model/             SavedModel, signature serving_default (the zoo's layout)
    OUTPUT/checkpoint/              ckpt-0, the weights alone
    OUTPUT/pipeline.config
    OUTPUT/model.tflite             float32 weights
    OUTPUT/model_float16.tflite     float16 weights
    OUTPUT/model_int8.tflite        8-bit weights and activations
    OUTPUT/model.onnx
    OUTPUT/labels.txt               a class name a line, by class index
    OUTPUT/export.json              hashes, converters, what goes in and what comes out

Each form is written by the Object Detection API's own exporters and by the converters of
TensorFlow and of tf2onnx. `forms.py` says which form a model has, `ladder.py` writes them.
"""

from replicate.export.forms import FORMS
from replicate.export.ladder import Settings as ExportSettings
from replicate.export.ladder import export
from replicate.export.saved_model import INPUT_TYPES

__all__ = ["FORMS", "INPUT_TYPES", "ExportSettings", "export"]
