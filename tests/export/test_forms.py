"""Each form detects what the checkpoint detects, or is refused with the reason."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from replicate import config as configs
from replicate import export, odapi
from replicate.benchmarking import Dataset, benchmark, ladder
from replicate.errors import UserError
from replicate.export import contract, forms, labels, pixels, reading, representative
from replicate.run import read_json

odapi.load()

from replicate.evaluate.detector import Detector
from tests.evaluate.conftest import Case

SSD = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
KEEP = "model.ssd.image_resizer.keep_aspect_ratio_resizer"
SMALL = [(f"{KEEP}.min_dimension", "256"), (f"{KEEP}.max_dimension", "256")]


def _exported(case, name, names, **options):
    folder = case.folder / name
    settings = export.ExportSettings(representative=6, seed=3)
    export.export(
        case.config,
        str(case.checkpoint_dir),
        folder,
        names=names,
        settings=options.pop("settings", settings),
        **options,
    )
    return folder


def _scored(case, path, **options):
    """AP of a form on images whose objects are some of the checkpoint's own detections."""
    record = benchmark(
        str(path),
        Dataset(case.annotations_file, case.image_dir),
        evaluator="hotcoco",
        cache_dir=None,
        progress=False,
        **options,
    )
    return record.metrics["bbox"]


@pytest.fixture(scope="module")
def ssd(tmp_path_factory):
    case = Case(tmp_path_factory.mktemp("ssd"), "ssd")
    case.make_objects()
    return case


@pytest.fixture(scope="module")
def float32(ssd):
    return _exported(ssd, "float32", ("tflite",))


@pytest.mark.timeout(600)
def test_float32_keeps_the_checkpoint_s_ap(ssd, float32):
    whole = _scored(ssd, ssd.checkpoint_dir, pipeline_config=str(ssd.config_path))
    assert 0.1 < whole["AP"] < 0.95
    form = _scored(ssd, float32 / "model.tflite")
    for name, value in whole.items():
        assert form[name] == pytest.approx(value, abs=0.002), name


def test_the_resizing_kernel_is_told_apart(ssd, float32):
    """OpenCV's half-pixel centres move the boxes; the contract's own kernel does not."""
    own, other = (
        _scored(ssd, float32 / "model.tflite", resizer=resizer)["AP"]
        for resizer in ("api", "opencv")
    )
    assert own - other > 0.01


def test_the_ladder(ssd, float32):
    dataset = Dataset(ssd.annotations_file, ssd.image_dir)
    found = ladder.of(float32, dataset, on_device=True, samples=0, progress=False)
    assert [(rung["form"], rung["preprocessing"]) for rung in found.rungs] == [
        ("checkpoint", "the checkpoint's"),
        ("tflite", "the checkpoint's"),
        ("tflite", "a device's"),
    ]
    whole, form, on_device = found.rungs
    assert (
        whole["AP"] == _scored(ssd, ssd.checkpoint_dir, pipeline_config=str(ssd.config_path))["AP"]
    )
    assert form["difference"] == form["AP"] - whole["AP"]
    assert form["bytes"] == (float32 / "model.tflite").stat().st_size
    # A device's pixels lose AP, and that is not counted against the form.
    assert on_device["difference"] < form["difference"] - 0.01 and on_device["kept"] is None
    assert form["latency_ms"]["median"] <= form["latency_ms"]["p95"]
    assert "1 thread" in form["device"] and found.lost == []


def test_a_lost_form_is_named(ssd, float32):
    """Not by an assertion about good luck: the threshold is held to, on both sides."""
    dataset = Dataset(ssd.annotations_file, ssd.image_dir)
    whole = ladder.of(float32, dataset, samples=0, progress=False)
    rung = dict(whole.rungs[1], kept=False, difference=-0.1, low=-0.2, high=-0.05)
    text = ladder.Ladder("exported/a", whole.dataset, [whole.rungs[0], rung]).text()
    assert "NOT within 0.1 of the checkpoint" in text and "-10.00 [-20.00, -5.00]" in text


def test_an_export_without_its_checkpoint(ssd, float32, tmp_path):
    (tmp_path / "export.json").write_text((float32 / "export.json").read_text())
    with pytest.raises(UserError, match="no checkpoint/ckpt-0"):
        ladder.of(tmp_path, Dataset(ssd.annotations_file, ssd.image_dir))


def test_the_record_says_what_there_is(ssd, float32):
    record = read_json(float32 / "export.json")
    form = record["forms"]["tflite"]
    content = (float32 / "model.tflite").read_bytes()
    assert form["sha256"] == hashlib.sha256(content).hexdigest()
    assert form["bytes"] == len(content)
    assert form["input"]["image_hw"] == [96, 96] and form["input"]["resize"] == "stretch"
    assert form["input"]["normalization"]["scale"] == pytest.approx([2 / 255] * 3)
    assert form["input"]["normalization"]["offset"] == pytest.approx([-1] * 3)
    assert form["nms"] == "regular" and form["max_detections"] == 100
    assert {tensor["role"] for tensor in form["tensors"]["outputs"]} == {
        "boxes",
        "classes",
        "scores",
        "count",
    }
    checkpoint = next(ssd.checkpoint_dir.glob("ckpt-7.index"))
    assert record["checkpoint"]["sha256"]["ckpt-7.index"] == (
        hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    )
    labels = (float32 / "labels.txt").read_text().split()
    assert len(labels) == 3 and reading.forms_in(float32) == {"tflite": float32 / "model.tflite"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_other_forms(ssd):
    pytest.importorskip("tf2onnx", reason="optional: requirements-onnx.txt")
    folder = _exported(ssd, "all", tuple(forms.FORMS))
    assert list(reading.forms_in(folder)) == list(forms.FORMS)
    whole = _scored(ssd, ssd.checkpoint_dir, pipeline_config=str(ssd.config_path))
    assert _scored(ssd, folder / "model.onnx") == pytest.approx(whole, abs=0.002)
    assert _scored(ssd, folder / "model_float16.tflite") == pytest.approx(whole, abs=0.02)
    assert _scored(ssd, folder / "model_int8.tflite")["AP"] < whole["AP"] + 0.02
    record = read_json(folder / "export.json")["forms"]
    of_int8 = record["tflite_int8"]["representative"]
    assert of_int8["images"] == 6 and of_int8["seed"] == 3
    # The same sample again: the records hold 7 images.
    again = representative.sample(ssd.config, lambda image: image, 6, 3)
    assert again.source_ids == of_int8["source_ids"]
    assert record["onnx"]["tensors"]["opset"]["ai.onnx"] == 17
    sizes = [record[name]["bytes"] for name in forms.TFLITE]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_black_representative_images_cost_ap(ssd):
    """The loss of a badly calibrated 8-bit form shows."""
    black = representative.Representative(
        [np.full((1, 96, 96, 3), -1, np.float32)], ["black"], 0, []
    )
    bad = _exported(ssd, "black", ("tflite_int8",), images=black)
    good = _exported(ssd, "good", ("tflite_int8",))
    lost = (
        _scored(ssd, good / "model_int8.tflite")["AP"]
        - _scored(ssd, bad / "model_int8.tflite")["AP"]
    )
    assert lost > 0.01


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", ["centernet", "efficientdet"])
def test_models_that_pad_to_a_square(family, tmp_path):
    if family == "centernet":
        case = Case(tmp_path, "centernet")
    else:
        case = Case(
            tmp_path,
            "ssd",
            [
                (f"{KEEP}.min_dimension", "96"),
                (f"{KEEP}.max_dimension", "96"),
                (f"{KEEP}.pad_to_max_dimension", "true"),
            ],
        )
    case.make_objects()
    folder = _exported(case, "forms", ("tflite",))
    entry = read_json(folder / "export.json")["forms"]["tflite"]["input"]
    # An SSD's images are padded with 0 after the normalization to -1..1, a CenterNet's before it.
    colour = 127.5 if family == "efficientdet" else 0
    assert entry["resize"] == "keep_aspect_pad"
    assert entry["pad"] == pytest.approx([colour] * 3, abs=1e-3)
    whole = _scored(case, case.checkpoint_dir, pipeline_config=str(case.config_path))
    assert _scored(case, folder / "model.tflite")["AP"] == pytest.approx(whole["AP"], abs=0.01)


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        (SSD, [(f"{KEEP}.min_dimension", "96"), (f"{KEEP}.max_dimension", "96")]),
        ("efficientdet_d0_coco17_tpu-32", SMALL),
        ("efficientdet_d0_coco17_tpu-32", [*SMALL, (f"{KEEP}.per_channel_pad_value", "[1, 2, 3]")]),
        ("centernet_resnet101_v1_fpn_512x512_coco17_tpu-8", None),
    ],
    ids=["ssd", "efficientdet", "efficientdet, another padding", "centernet"],
)
def test_a_padded_model_is_given_what_it_was_trained_on(model, overrides):
    """The contract's pixels are those of the model's own preprocessing, its padding included."""
    if overrides is None:
        keep = KEEP.replace(".ssd.", ".center_net.")
        overrides = [(f"{keep}.min_dimension", "128"), (f"{keep}.max_dimension", "128")]
    config = configs.render(
        model, overrides=[*overrides, (f"{overrides[0][0].rsplit('.', 1)[0]}."
        "pad_to_max_dimension", "true")], num_classes=3,
    )  # fmt: skip
    detector = Detector(config)
    given = pixels.Pixels.of_contract(contract.of_tflite(config, detector)["input"])
    image = np.random.default_rng(0).integers(0, 255, (50, 91, 3), np.uint8)
    for turned in (image, image.transpose(1, 0, 2)):
        prepared = given.prepared(turned)
        if "centernet" in model:  # normalizes inside the graph
            prepared = detector.model._feature_extractor.preprocess(prepared[np.newaxis])[0]
        expected = np.asarray(detector.preprocess(turned)[0])
        assert np.asarray(prepared).shape == expected.shape
        assert np.asarray(prepared) == pytest.approx(expected, abs=2e-4)


def _config(model, **overrides):
    given = [(path.replace("__", "."), str(value)) for path, value in overrides.items()]
    return configs.render(model, overrides=given, num_classes=3)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", "not faster_rcnn"),
        ("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8", "not faster_rcnn"),
    ],
)
def test_what_the_api_does_not_support_is_refused_at_once(model, says, tmp_path):
    with pytest.raises(UserError, match=f"(?s){says}.*This model has: saved_model, onnx"):
        export.export(_config(model), "ckpt-1", tmp_path / "out", names=("saved_model", "tflite"))
    assert not (tmp_path / "out").exists()


def test_a_resizer_of_no_one_size_is_refused(ssd):
    config = type(ssd.config)()
    config.CopyFrom(ssd.config)
    keep = config.model.ssd.image_resizer.keep_aspect_ratio_resizer
    keep.min_dimension, keep.max_dimension, keep.pad_to_max_dimension = 64, 96, True
    assert "one size" in forms.tflite_refusal(config)
    keep.min_dimension = 96
    keep.per_channel_pad_value.extend([1, 2, 3])
    assert forms.square(config) == forms.Square(96, (1, 2, 3)) and not forms.tflite_refusal(config)


def test_no_records_for_representative_images(ssd, tmp_path):
    config = type(ssd.config)()
    config.CopyFrom(ssd.config)
    config.train_input_reader.tf_record_input_reader.input_path[:] = [f"{tmp_path}/none-*"]
    with pytest.raises(UserError, match="none-.* matches no file"):
        export.export(config, "ckpt-1", tmp_path / "out", names=("tflite_int8",))


def test_records_are_found_from_the_run_s_folder(ssd, tmp_path, monkeypatch):
    """Of a config with paths of its own working directory, read from another one."""
    config = type(ssd.config)()
    config.CopyFrom(ssd.config)
    reader = config.train_input_reader
    expected = representative.shards(config)
    names = labels.of_config(config)
    top = ssd.folder.parent
    reader.tf_record_input_reader.input_path[:] = [
        str(pathlib.Path(pattern).relative_to(top))
        for pattern in reader.tf_record_input_reader.input_path
    ]
    reader.label_map_path = str(pathlib.Path(reader.label_map_path).relative_to(top))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="matches no file"):
        representative.shards(config)
    assert representative.shards(config, ssd.folder) == expected
    assert labels.of_config(config) is None
    assert labels.of_config(config, ssd.folder) == names and names


def test_an_unknown_form(ssd, tmp_path):
    with pytest.raises(UserError, match="there are: saved_model, tflite"):
        export.export(ssd.config, "ckpt-1", tmp_path / "out", names=("coreml",))


def test_channels_that_change_places_have_no_contract(ssd):
    detector = Detector(ssd.config)
    plain = detector.preprocess
    detector.preprocess = lambda image: (plain(image)[0][..., ::-1], None)
    with pytest.raises(UserError, match="not a scale and an offset of each channel"):
        contract.normalization(detector)


def test_a_record_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"no export\.json"):
        reading.forms_in(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps({"forms": {"tflite": 3}}))
    with pytest.raises(UserError, match="not what the kit writes there"):
        reading.forms_in(tmp_path)
