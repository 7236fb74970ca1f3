"""A PyTorch module that follows torchvision's detection convention."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from replicate.benchmarking.model import Model, ModelDetections, cpu_name, sha256_of
from replicate.errors import UserError

if TYPE_CHECKING:
    import torch

    from replicate.benchmarking.dataset import Dataset


def of(
    module: "torch.nn.Module",
    dataset: "Dataset",
    device: str | None = None,
    category_ids: dict[int, int] | list[int] | None = None,
) -> Model:
    """A module: list of float images [3, height, width] in 0..1 -> list of dicts.

    The dicts hold `boxes` [N, 4] (x1, y1, x2, y2 in px), `labels` [N], `scores` [N] and, where
    the model has them, `masks` [N, 1, height, width] (probabilities) and `keypoints` [N, K, 3].

    Args:
      module: torch.nn.Module; it is put into evaluation mode.
      device: "cpu", "cuda:0" …; default the GPU where there is one.
      category_ids: dict or list label -> category id; default the labels are COCO's ids.
    """
    import torch

    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    module = module.eval().to(device)

    def prepare(image: np.ndarray) -> "torch.Tensor":
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255

    def call(batch: "list[torch.Tensor]") -> list[dict]:
        with torch.inference_mode():
            return module(batch)

    def detections_of(outputs: list[dict], image_hw: list) -> list[ModelDetections]:
        return [_detections(of_image, category_ids) for of_image in outputs]

    return Model(
        call,
        name=type(module).__name__,
        identity=_identity(module, category_ids),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        input_transform=prepare,
        to_device=lambda batch: [of_image.to(device) for of_image in batch],
        output_transform=detections_of,
    )


def _detections(output: dict, category_ids: dict[int, int] | list[int] | None) -> ModelDetections:
    missing = [name for name in ("boxes", "labels", "scores") if name not in output]
    if missing:
        raise UserError(
            f"the module's output has no '{missing[0]}' (it has {', '.join(output)}); "
            "torchvision's convention is a list of dicts with boxes, labels and scores. Use "
            "`output_transform` for another"
        )
    boxes_xyxy_px, labels, scores = (
        output[name].detach().cpu().numpy() for name in ("boxes", "labels", "scores")
    )
    boxes_xyxy_px = boxes_xyxy_px.astype(np.float64).reshape(-1, 4)
    if category_ids is not None:
        labels = np.array([category_ids[label] for label in labels.tolist()], int)
    masks, keypoints = output.get("masks"), output.get("keypoints")
    return ModelDetections(
        np.concatenate([boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]], axis=1),
        scores,
        labels,
        masks=None if masks is None else (masks[:, 0] > 0.5).cpu().numpy(),
        keypoints=None if keypoints is None else keypoints.cpu().numpy(),
    )


def _identity(module: "torch.nn.Module", category_ids: dict[int, int] | list[int] | None) -> str:
    """Of the architecture as it prints, its weights and buffers, and PyTorch's version."""
    import torch

    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return sha256_of(
        *("torchvision", torch.__version__, f"{type(module).__module__}.{type(module).__name__}"),
        *(repr(module), digest.hexdigest(), repr(category_ids)),
    )
