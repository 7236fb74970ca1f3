"""A Transformers detector with random weights, built from a config, gives its recorded AP.

Run by the Python of the environment that has the library: build/transformers, which `make
test-all` builds, this one, or the one that REPLICATE_TRANSFORMERS_PYTHON names
(requirements-transformers.txt is all it needs).
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from replicate import benchmark
from replicate.benchmarking import Dataset

PROJECT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = (
    os.environ.get("REPLICATE_TRANSFORMERS_PYTHON")
    or shutil.which(PROJECT / "build" / "transformers" / "bin" / "python")
    or (sys.executable if importlib.util.find_spec("transformers") else None)
)
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="no Python with Transformers: make build/transformers/.installed"
)

# Builds the model, and records its detections: the best over queries × classes, by hand.
RECORDING = """
import json, sys
import numpy as np, torch, transformers
from PIL import Image
kind, folder, out, *paths = sys.argv[1:]
names = {0: "red", 1: "green", 2: "N/A", 3: "blue"}
torch.manual_seed(0)
if kind == "rt_detr":
    backbone = transformers.RTDetrResNetConfig(embedding_size=16, hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage2", "stage3", "stage4"])
    config = transformers.RTDetrConfig(backbone_config=backbone, encoder_in_channels=[16, 24, 32],
        d_model=32, encoder_hidden_dim=32, encoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_in_channels=[32, 32, 32], decoder_ffn_dim=32, decoder_attention_heads=2,
        decoder_layers=2, num_queries=40, id2label=names, label2id={v: k for k, v in names.items()})
    model = transformers.RTDetrForObjectDetection(config)
    processor = transformers.RTDetrImageProcessor(size={"height": 128, "width": 128})
else:
    backbone = transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"])
    config = transformers.DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False,
        backbone=None, backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, num_queries=40, id2label=names,
        label2id={v: k for k, v in names.items()})
    model = transformers.DetrForObjectDetection(config)
    processor = transformers.DetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
with torch.no_grad():  # weights large enough that scores and boxes differ
    for name, value in model.named_parameters():
        if value.ndim > 1 and any(part in name for part in ("class", "bbox", "query")):
            value.normal_(0, 0.6)
model = model.eval()
model.save_pretrained(folder)
processor.save_pretrained(folder)
found = []
for path in paths:
    image = Image.open(path).convert("RGB")
    with torch.inference_mode():
        outputs = model(**processor(images=image, return_tensors="pt"))
    logits, boxes_of = outputs.logits[0], outputs.pred_boxes[0]
    every = logits.sigmoid() if kind == "rt_detr" else logits.softmax(-1)[:, :-1]
    ranked = sorted(((float(every[q, c]), q, c) for q in range(40) for c in range(4)),
                    reverse=True)[:100]
    scores, labels = [r[0] for r in ranked], [r[2] for r in ranked]
    w, h = image.size
    boxes = []
    for _, q, _ in ranked:
        cx, cy, bw, bh = boxes_of[q].tolist()
        boxes.append([(cx - bw / 2) * w, (cy - bh / 2) * h, (cx + bw / 2) * w, (cy + bh / 2) * h])
    if kind == "rt_detr":  # the library's own takes as many as there are queries
        sizes = torch.tensor([image.size[::-1]])
        (own,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes)
        assert np.allclose(own["scores"], scores[:40]) and own["labels"].tolist() == labels[:40]
        assert np.allclose(own["boxes"], boxes[:40], atol=1e-3)
    found.append([[s, names[l], b] for s, l, b in zip(scores, labels, boxes)])
json.dump(found, open(out, "w"))
"""
IDS = {"red": 1, "green": 3, "blue": 7}


def _recorded(kind, drawn, folder):
    """(the model's folder, a Dataset whose objects are some of its detections, those recorded)."""
    out = folder / "found.json"
    paths = [str(path) for _, path in drawn.images]
    done = subprocess.run(
        [PYTHON, "-c", RECORDING, kind, str(folder / "model"), str(out), *paths],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(pathlib.Path(drawn.annotations_file).read_text())
    results, objects = [], []
    rng = np.random.default_rng(3)
    for (image_id, _), found in zip(drawn.images, json.loads(out.read_text()), strict=True):
        kept = []
        for score, name, (x1, y1, x2, y2) in found:
            if name in IDS:
                kept.append((IDS[name], [x1, y1, x2 - x1, y2 - y1], score))
        results += [
            {"image_id": image_id, "category_id": id, "bbox": box, "score": score}
            for id, box, score in kept
        ]
        for at in range(0, 12, 2):
            id, box, _ = kept[at]
            moved = (np.array(box) * rng.normal(1, 0.05, 4)).tolist()
            objects.append(
                {
                    "id": len(objects) + 1, "image_id": image_id, "category_id": id,
                    "bbox": moved, "area": moved[2] * moved[3], "iscrowd": 0,
                }
            )  # fmt: skip
    document["annotations"] = objects
    (folder / "instances.json").write_text(json.dumps(document))
    (folder / "recorded.json").write_text(json.dumps(results))
    return folder / "model", Dataset(str(folder / "instances.json"), drawn.image_dir), results


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["rt_detr", "detr"])
def test_random_weights_from_a_config(kind, drawn, tmp_path):
    model, dataset, results = _recorded(kind, drawn, tmp_path)
    expected = benchmark(str(tmp_path / "recorded.json"), dataset, cache_dir=None)
    assert 0 < expected.metrics["bbox"]["AP"] < 0.98
    record = benchmark(str(model), dataset, python=PYTHON, cache_dir=None, progress=False)
    assert record.metrics["bbox"]["AP"] == pytest.approx(expected.metrics["bbox"]["AP"], abs=1e-12)
    assert len(record.detected.as_list()) == len(results)
    assert "transformers" in record.speed["device"] and record.model["identity"]
