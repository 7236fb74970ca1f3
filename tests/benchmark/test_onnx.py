"""ONNX detectors, each by its own convention, give the recorded detections' AP."""

import numpy as np
import pytest

from replicate.benchmarking import Dataset
from replicate.benchmarking.adapters.inputs import Inputs
from replicate.benchmarking.adapters.outputs import TOP, Outputs, probabilities
from replicate.benchmarking.names import ids_of_names
from replicate.errors import UserError
from tests.benchmark.replaying import IDS, corners_of, images_of, run


def _onnx_model(path, dataset, tables, inputs, input_hw, names):
    """An ONNX model that knows its images by their mean and looks their outputs up.

    Args:
      tables: dict output name -> (images, …) float32 or int64, what it gives of each image.
      inputs: Inputs, how the images go in.
      input_hw: its input's size, or None.
    """
    onnx = pytest.importorskip("onnx", reason="optional: requirements-onnx.txt")
    pytest.importorskip("onnxruntime", reason="optional: requirements-onnx.txt")
    from onnx import TensorProto, helper, numpy_helper

    prepared = [inputs.prepared(image, input_hw).astype(np.float32) for image in images_of(dataset)]
    means = np.array([image.mean(dtype=np.float64) for image in prepared], np.float32)
    assert np.abs(np.subtract.outer(means, means))[~np.eye(len(means), dtype=bool)].min() > 2e-5
    height, width = input_hw or ("height", "width")
    shape = {"nchw": [1, 3, height, width], "chw": [3, height, width]}[inputs.layout]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["means", "mean"], ["off"]),
        helper.make_node("Abs", ["off"], ["distance"]),
        helper.make_node("ArgMin", ["distance"], ["which"], axis=0, keepdims=0),
    ]
    constants = [numpy_helper.from_array(means, "means")]
    outputs = []
    for name, values in tables.items():
        constants.append(numpy_helper.from_array(values, f"all_{name}"))
        nodes.append(helper.make_node("Gather", [f"all_{name}", "which"], [name], axis=0))
        kind = TensorProto.INT64 if values.dtype == np.int64 else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(name, kind, values.shape[1:]))
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _centres(corners):
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def _columns(one, count, kind, ids):
    """(N, count) of each detection's score in its class's column, as `kind` writes it."""
    at = [ids.index(id) for id in one.category_ids]
    values = np.full((len(at), count), 1e-6)
    values[np.arange(len(at)), at] = one.scores
    if kind == "probabilities":
        return values
    if kind == "sigmoid":
        return np.log(values / (1 - values))
    # A last class that is none takes the rest.
    rest = 1 - values.sum(axis=1, keepdims=True)
    return np.log(np.concatenate([values, rest], axis=1))


STRETCH = Inputs("nchw", "0..1", "stretch")
CASES = {
    "coco's own": (Inputs("chw", "0..1", "none"), None, "boxes:xyxy_px,scores:score,labels:coco"),
    "corners y first": (
        STRETCH, (64, 96), "boxes:yxyx_norm,scores:probabilities,labels:contiguous",
    ),
    "sizes of the input": (STRETCH, (64, 96), "boxes:xywh_input,scores:score,labels:contiguous"),
    "softmax": (
        Inputs("nchw", "imagenet", "stretch"), (64, 96),
        "boxes=dets:cxcywh_norm,scores=logits:softmax,labels:contiguous",
    ),
    "letterbox": (
        Inputs("nchw", "-1..1", "letterbox"), (96, 96),
        "boxes:xyxy_input,scores:sigmoid,labels:contiguous",
    ),
    "padded": (
        Inputs("nchw", "0..1", "pad"), (96, 96), "boxes:xyxy_norm,scores:sigmoid,labels:coco",
    ),
}  # fmt: skip


def _as_written(corners, image_hw, contract, inputs, input_hw):
    """Corners in pixels of the image, written as a contract has boxes: worked out by hand."""
    layout, frame = contract.boxes.split("_")
    height, width = image_hw
    if frame != "px":
        high, wide = input_hw
        if inputs.resize == "stretch":
            corners = corners * np.array([wide / width, high / height] * 2)
        else:
            factor = min(high / height, wide / width)
            new = round(height * factor), round(width * factor)
            corners = corners * np.array([new[1] / width, new[0] / height] * 2)
            if inputs.resize == "letterbox":
                left, top = (wide - new[1]) // 2, (high - new[0]) // 2
                corners = corners + [left, top, left, top]
        if frame == "norm":
            corners = corners / np.array([wide, high] * 2)
    if layout == "yxyx":
        return corners[:, [1, 0, 3, 2]]
    if layout == "xywh":
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return _centres(corners) if layout == "cxcywh" else corners


@pytest.mark.parametrize("case", CASES)
def test_onnx_by_a_named_contract(case, drawn, recorded, tmp_path):
    found, metrics = recorded
    inputs, input_hw, text = CASES[case]
    contract = Outputs.parsed(text)
    of_images = [
        _as_written(corners_of(one), image.shape[:2], contract, inputs, input_hw)
        for one, image in zip(found, images_of(drawn), strict=True)
    ]
    tables = {contract.name_of("boxes"): np.array(of_images, np.float32)}
    if contract.by_class:
        ids = IDS if contract.labels == "contiguous" else list(range(IDS[-1] + 1))
        scores = [_columns(one, len(ids), contract.scores, ids) for one in found]
        tables[contract.name_of("scores")] = np.array(scores, np.float32)
    else:
        tables["scores"] = np.array([one.scores for one in found], np.float32)
        labels = [
            [id if contract.labels == "coco" else IDS.index(id) for id in one.category_ids]
            for one in found
        ]
        tables["labels"] = np.array(labels, np.int64)
    path = tmp_path / "detector.onnx"
    _onnx_model(path, drawn, tables, inputs, input_hw, contract.names)
    told = f"layout:{inputs.layout},pixels:{inputs.pixels},resize:{inputs.resize}"
    record = run(path, drawn, outputs=text, inputs=told)
    assert record.metrics["bbox"]["AP"] == pytest.approx(metrics["AP"], abs=1e-12)
    assert record.metrics["bbox"]["AP50"] == pytest.approx(metrics["AP50"], abs=1e-12)
    assert "ONNX Runtime" in record.speed["device"]


@pytest.mark.parametrize("family", ["torchvision", "rt_detr", "rf_detr", "yolo"])
def test_onnx_of_a_known_family(family, drawn, recorded, tmp_path):
    from replicate.benchmarking.adapters.onnx import KNOWN

    found, metrics = recorded
    inputs, outputs = KNOWN[family]
    input_hw = None if inputs.resize == "none" else (96, 96)
    images = images_of(drawn)
    boxes = [
        _as_written(corners_of(one), image.shape[:2], outputs, inputs, input_hw)
        for one, image in zip(found, images, strict=True)
    ]
    if family == "torchvision":
        tables = {
            "boxes": np.array(boxes, np.float32),
            "labels": np.array([one.category_ids for one in found], np.int64),
            "scores": np.array([one.scores for one in found], np.float32),
        }
    else:
        ids = IDS if outputs.labels == "contiguous" else list(range(IDS[-1] + 1))
        scores = [_columns(one, len(ids), outputs.scores, ids) for one in found]
        if family == "yolo":
            # [1, 4 + classes, N]
            both = np.concatenate([np.array(boxes), np.array(scores)], axis=2)
            tables = {"output0": both.transpose(0, 2, 1)[:, None].astype(np.float32)}
        else:
            tables = {
                outputs.name_of("boxes"): np.array(boxes, np.float32)[:, None],
                outputs.name_of("scores"): np.array(scores, np.float32)[:, None],
            }
    path = tmp_path / "detector.onnx"
    _onnx_model(path, drawn, tables, inputs, input_hw, outputs.names)
    assert run(path, drawn, outputs=family).metrics["bbox"]["AP"] == pytest.approx(
        metrics["AP"], abs=1e-12
    )
    with pytest.raises(UserError, match="what else it means cannot be told"):
        run(path, drawn)
    with pytest.raises(UserError, match="--outputs=yolov9: there are tf_zoo, torchvision"):
        run(path, drawn, outputs="yolov9")
    with pytest.raises(UserError, match="--inputs: how an image goes in is not said"):
        run(path, drawn, outputs="boxes:xyxy_px,scores:score,labels:coco")


WRONG = {
    "scores of each class": (
        {"scores": (4, 3)}, "boxes:xyxy_norm,scores:score,labels:coco",
        r"'scores' has for an image the shape \[4, 3\]; by scores:score these are expected: "
        r"boxes \[N, 4\], scores \[N\], labels \[N\]",
    ),
    "boxes the other way": (
        {"boxes": (4, 5), "scores": (5,), "labels": (5,)},
        "boxes:xyxy_norm,scores:score,labels:coco", r"are boxes \[4, 5\], scores \[5\]",
    ),
    "labels of another output": (
        {"labels": (7,)}, "boxes:xyxy_norm,scores:score,labels:coco", r"labels \[7\]; expected",
    ),
    "labels that are none": (
        {}, "boxes:xyxy_norm,scores:score,labels=scores:coco", "are no class numbers",
    ),
    "a batch": (
        {"boxes": (2, 4, 4)}, "boxes:xyxy_norm,scores:score,labels:coco", "a batch of 1",
    ),
    "91 columns": (
        {"scores": (4, 91)}, "boxes:xyxy_norm,scores:sigmoid,labels:contiguous",
        "scores of 91 classes, where labels:contiguous over the 3 categories .* has 3",
    ),
    "a label beyond": (
        {}, "boxes:xyxy_norm,scores:score,labels:contiguous",
        "a class number of 3, where contiguous over the 3 categories .* goes from 0 to 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_outputs_that_are_not_what_is_said(mistake, drawn, tmp_path):
    """An error of the user, with the shapes that are there and what to say instead."""
    shapes, text, says = WRONG[mistake]
    shapes = {"boxes": (4, 4), "scores": (4,), "labels": (4,)} | shapes
    rng = np.random.default_rng(0)
    tables = {name: rng.random((6, *shape)).astype(np.float32) for name, shape in shapes.items()}
    tables["labels"] = np.full((6, *shapes["labels"]), 3, np.int64)
    _onnx_model(tmp_path / "detector.onnx", drawn, tables, STRETCH, (64, 96), {})
    with pytest.raises(UserError, match=says):
        run(
            tmp_path / "detector.onnx",
            drawn,
            outputs=text,
            inputs="layout:nchw,pixels:0..1,resize:stretch",
        )


def test_an_input_in_another_layout(drawn, tmp_path):
    tables = {
        "boxes": np.zeros((6, 4, 4), np.float32),
        "scores": np.zeros((6, 4), np.float32),
        "labels": np.zeros((6, 4), np.int64),
    }
    _onnx_model(tmp_path / "detector.onnx", drawn, tables, STRETCH, (64, 96), {})
    with pytest.raises(UserError, match=r"fails on an input of float32 .*takes image .*--inputs="):
        run(
            tmp_path / "detector.onnx",
            drawn,
            outputs="boxes:xyxy_norm,scores:score,labels:coco",
            inputs="layout:nhwc,pixels:0..1,resize:stretch",
        )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("boxes:xyxy_px,scores:score", "labels is not said"),
        ("boxes:xyxy,scores:score,labels:coco", "boxes:xyxy is none of xyxy_px"),
        ("boxes,scores:score,labels:coco", "'boxes' is not boxes:"),
        ("suppression:2,boxes:xyxy_px,scores:score,labels:coco", "no IoU between 0 and 1"),
    ],
)
def test_a_contract_that_says_too_little(text, says):
    with pytest.raises(UserError, match=says):
        Outputs.parsed(text)


def test_an_input_that_says_too_little():
    with pytest.raises(UserError, match="resize is not said"):
        Inputs.parsed("layout:nchw,pixels:0..1")
    with pytest.raises(UserError, match="'pixels:bgr' is not known"):
        Inputs.parsed("layout:nchw,pixels:bgr,resize:none")


def test_logits_as_probabilities():
    """By hand: softmax of (log 1, log 2, log 5) is (1, 2, 5)/8, the last class none."""
    logits = np.log(np.array([[1.0, 2.0, 5.0]]))
    assert probabilities(logits, "softmax") == pytest.approx(np.array([[1 / 8, 2 / 8]]))
    first = probabilities(logits, "softmax_background_first")
    assert first == pytest.approx(np.array([[0, 2 / 8, 5 / 8]]))
    assert probabilities(np.array([[0.0, 800.0, -800.0]]), "sigmoid").tolist() == [[0.5, 1, 0]]


def test_the_best_of_boxes_times_classes():
    """A box counts under each class that is among the best; an argmax would leave it one."""
    outputs = {"boxes": np.array([[0, 0, 9, 9], [5, 5, 9, 9]]), "scores": [[0.9, 0.8], [0.1, 0.7]]}
    contract = Outputs("xyxy_px", "probabilities", "contiguous")
    found = contract.detections(outputs, None, None, {0: 1, 1: 3})
    assert list(zip(found.category_ids, found.scores, strict=True)) == [
        (1, 0.9),
        (3, 0.8),
        (3, 0.7),
        (1, 0.1),
    ]
    many = {"boxes": np.zeros((200, 4)), "scores": np.random.default_rng(0).random((200, 2))}
    assert len(contract.detections(many, None, None, {0: 1, 1: 3}).scores) == TOP


def test_suppression_that_is_left_to_the_caller():
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]]
    )  # IoU 0.8 and 0.6 with the first
    contract = Outputs("xyxy_px", "probabilities", "contiguous", suppression_iou=0.7)
    scores = np.array([[0.9], [0.8], [0.7]])
    found = contract.detections({"boxes": boxes, "scores": scores}, None, None, {0: 1})
    assert found.scores.tolist() == [0.9, 0.7]


def test_names_of_other_lists(drawn):
    dataset = Dataset(drawn.annotations_file, drawn.image_dir)
    assert ids_of_names(["Red", "N/A", "blue"], dataset) == {"Red": 1, "blue": 7}
    with pytest.raises(UserError, match="none of the model's 1 class names"):
        ids_of_names(["purple"], dataset)
