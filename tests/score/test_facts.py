"""Signs of post-processing for deployment, told from the detections themselves."""

import numpy as np
import pytest

from replicate.score import score
from replicate.score.detections import Detections
from replicate.score.text import remarks


def made(per_image, scores, seed=0):
    """Detections: `per_image` counts for images 1, 2, …; `scores` draws n of them."""
    rng = np.random.default_rng(seed)
    return Detections.of(
        [
            {"image_id": i, "category_id": 1, "bbox": [0, 0, 9, 9], "score": float(each)}
            for i, count in enumerate(per_image, 1)
            for each in scores(rng, count)
        ],
        "bbox",
    )


def falling(rng, count):
    """Scores as a detector gives them: most near nothing, a few near one."""
    return np.sort(rng.beta(0.3, 6, count))


def cut_at(threshold):
    return lambda rng, count: threshold + (1 - threshold) * rng.beta(1, 4, count)


HUNDREDS = [100] * 40
UNEVEN = np.random.default_rng(1).poisson(6, 40).tolist()


@pytest.mark.parametrize(
    "per_image, scores, threshold, cap",
    [
        pytest.param(HUNDREDS, falling, None, None, id="the zoo's own post-processing"),
        pytest.param(HUNDREDS, cut_at(0.02), None, None, id="100 each, none low: not cut"),
        pytest.param(
            [60, 80, 95, 100] * 10, falling, None, None, id="few candidates, small scores"
        ),
        pytest.param(UNEVEN, cut_at(0.5), 0.5, None, id="threshold 0.5"),
        pytest.param(UNEVEN, cut_at(0.05), 0.05, None, id="threshold 0.05"),
        pytest.param([10] * 40, falling, None, 10, id="ten each"),
        pytest.param([min(10, 2 * n) for n in UNEVEN], cut_at(0.3), 0.3, 10, id="both"),
        pytest.param([], falling, None, None, id="none at all"),
        pytest.param(UNEVEN, lambda rng, count: np.ones(count), None, None, id="all equal"),
        pytest.param(
            UNEVEN, lambda rng, count: 100 * rng.beta(1, 4, count) + 5, None, None, id="per cent"
        ),
    ],
)
def test_threshold_and_cap(per_image, scores, threshold, cap):
    facts = made(per_image, scores).facts(range(1, 41))
    assert facts["cap_per_image"] == cap
    assert facts["score_threshold"] == (threshold and pytest.approx(threshold, abs=0.01))
    assert facts["max_per_image"] == max(per_image, default=0)


def test_equal_scores_rank_nothing(annotations_file, detections):
    said = remarks(
        score(annotations_file, [each | {"score": 1.0} for each in detections]).to_json()
    )
    assert f"all {len(detections):,} detections have the same score (1): nothing ranks them" in (
        " ".join(said)
    )
    assert "cut at" not in " ".join(said)


# As their scores end (0.5000, 0.5117, 0.6000) and their counts heap: 225 images with 10 detections
# after 69 with 9; 11 with 20 after 4 with 19; 1 with 10 after 2 with 9.
@pytest.mark.parametrize(
    "model, threshold, cap",
    [
        ("ssd_mobilenet_v3_small", 0.5, 20),
        ("ssd_mobilenet_v2", 0.51, 10),
        ("ssd_mobilenet_v2_fpnlite_640x640", 0.6, None),
    ],
)
def test_real_deployed_detections(shared, model, threshold, cap):
    results = Detections.of(shared / f"coco/results/{model}.json", "bbox")
    facts = results.facts(sorted(set(results.image_ids.tolist())))
    assert facts["score_threshold"] == pytest.approx(threshold, abs=0.005)
    assert facts["cap_per_image"] == cap


def test_facts_are_of_the_scored_images(annotations_file, detections):
    facts = score(annotations_file, detections, num_images=5).to_json()["detections"]
    assert facts["images"] == 5 and facts["count"] == 40 and facts["max_per_image"] == 8


@pytest.mark.parametrize(("cut", "told"), [(float, False), (int, True)])
def test_boxes_on_whole_pixels_are_told(annotations_file, detections, cut, told):
    detections = [each | {"bbox": [cut(v) for v in each["bbox"]]} for each in detections]
    found = score(annotations_file, detections).to_json()
    assert found["detections"]["whole_pixels"] is told
    assert any("whole pixels" in line for line in remarks(found)) is told
