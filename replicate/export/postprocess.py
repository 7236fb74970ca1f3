"""The suppression inside a TFLite detector (the operator TFLite_Detection_PostProcess)."""

from typing import Any

_OPERATOR = b"TFLite_Detection_PostProcess"
#: https://github.com/tensorflow/tensorflow/issues/56058; tests/export/test_postprocess.py has the
#: operator alone, with 3 to 91 classes and 1 to 16 threads.
LOSES = (
    "LiteRT's suppression category by category, on {threads} threads, loses every detection of "
    "class index {threads} (tensorflow/tensorflow#56058)"
)


def options_of(content: bytes) -> dict[str, Any] | None:
    """The operator's options in a TFLite model; None where it has no such operator.

    Args:
      content: of a .tflite file that LiteRT loads.

    Returns:
      dict: use_regular_nms, num_classes, max_detections, nms_iou_threshold …, as written.
    """
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import flexbuffers

    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(at).CustomCode() for at in range(model.OperatorCodesLength())]
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            if codes[operator.OpcodeIndex()] == _OPERATOR:
                return flexbuffers.Loads(operator.CustomOptionsAsNumpy().tobytes())
    return None


def lost(options: dict[str, Any] | None, threads: int) -> str | None:
    """What a model loses on so many threads; None where it loses nothing.

    Args:
      options: of `options_of`.
      threads: of the interpreter.
    """
    if (
        not options
        or not options.get("use_regular_nms")
        or not 1 < threads < options["num_classes"]
    ):
        return None
    return LOSES.format(threads=threads)
