"""A detector of the Transformers library, from a folder of `save_pretrained`; nothing of the kit.

Threshold 0, and the best 100 over queries × classes: `post_process_object_detection` of DETR's
processor has one class a query and a threshold of 0.5, both of which cost AP.
"""

import os

import numpy as np

TOP = 100
# By the model's type: softmax with a last class that is none, or a sigmoid of each class.
SOFTMAX = ("detr", "table-transformer", "yolos")
SIGMOID = (
    "conditional_detr",
    "d_fine",
    "dab-detr",
    "deformable_detr",
    "deta",
    "rt_detr",
    "rt_detr_v2",
)


class Detector:
    """A callable: uint8 RGB [height, width, 3] -> boxes_xyxy_px, scores, class_names.

    Args:
      options: dict "folder" of the model and its processor; optionally "scores", "softmax" or
        "sigmoid", of a model type that is in neither list; "device".
    """

    def __init__(self, options: dict) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        import transformers

        folder = options["folder"]
        self._torch = torch
        self._processor = transformers.AutoImageProcessor.from_pretrained(folder)
        self._model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
        self._device = torch.device(
            options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        )
        self._model.to(self._device)
        kind = self._model.config.model_type
        self._scores = options.get("scores") or (
            "softmax" if kind in SOFTMAX else "sigmoid" if kind in SIGMOID else None
        )
        if self._scores not in ("softmax", "sigmoid"):
            raise ValueError(
                f"whether the scores of a {kind!r} are a softmax with a class that is none or a "
                "sigmoid is not known; say scores=softmax or scores=sigmoid"
            )
        self._names = self._model.config.id2label
        self.about = (
            f"{kind} by transformers {transformers.__version__}, torch {torch.__version__} on "
            f"{self._device}, {torch.get_num_threads()} threads"
        )

    def __call__(self, image: np.ndarray) -> dict:
        torch = self._torch
        height, width = image.shape[:2]
        given = self._processor(
            images=image, return_tensors="pt", input_data_format="channels_last"
        )
        given = {name: value.to(self._device) for name, value in given.items()}
        with torch.inference_mode():
            outputs = self._model(**given)
        logits, boxes = outputs.logits[0].double(), outputs.pred_boxes[0].double()
        scores = logits.softmax(-1)[:, :-1] if self._scores == "softmax" else logits.sigmoid()
        best, at = scores.flatten().topk(min(TOP, scores.numel()))
        queries, classes = at // scores.shape[1], at % scores.shape[1]
        centre, size = boxes[queries, :2], boxes[queries, 2:]
        corners = torch.cat([centre - size / 2, centre + size / 2], dim=1).cpu().numpy()
        return {
            "boxes_xyxy_px": corners * np.array([width, height, width, height]),
            "scores": best.cpu().numpy(),
            "class_names": [self._names.get(int(c), "n/a") for c in classes],
        }
