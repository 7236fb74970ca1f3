"""Detections written and scored while they are made."""

import gzip
import json

import numpy as np
import pytest

from replicate import odapi, score
from replicate.errors import UserError

odapi.load()

from replicate.evaluate import detections, results
from replicate.run import read_json


def test_the_file_holds_what_was_scored(ssd, tmp_path):
    evaluation = ssd.evaluation(batch_size=3)
    expected, prefix = evaluation.detect(str(ssd.checkpoint_dir), progress=False)
    assert prefix.endswith("ckpt-7")
    path = tmp_path / "detections.json.gz"
    count, result = results.write(evaluation, path, progress=False)
    written = read_json(path)
    assert count == len(written) == len(expected) > 100
    assert written == expected
    again = score.score(ssd.annotations_file, str(path))
    assert result.metrics == again.metrics
    assert result.to_json() == again.to_json()
    first = path.read_bytes()
    results.write(evaluation, path, progress=False)
    assert path.read_bytes() == first, "the same detections, the same bytes"
    plain = tmp_path / "detections.json"
    assert results.write(evaluation, plain, scored=False, progress=False) == (count, None)
    assert json.loads(plain.read_text()) == expected


@pytest.mark.parametrize("empty", [(), (1,), (1, 2, 3)])
def test_images_without_detections(empty, tmp_path):
    class Evaluation:
        def found(self, progress):
            for image_id in (1, 2, 3):
                number = 0 if image_id in empty else 2
                yield detections.Found(
                    image_id, [5] * number, np.ones((number, 4), np.float32), np.ones(number)
                )

    count, _ = results.write(Evaluation(), tmp_path / "a.json.gz", scored=False)
    assert count == len(read_json(tmp_path / "a.json.gz")) == 2 * (3 - len(empty))


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    class Evaluation:
        def found(self, progress):
            yield detections.Found(1, [5], np.ones((1, 4), np.float32), np.ones(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.write(Evaluation(), tmp_path / "a.json.gz", scored=False)
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_decoded_is_named(ssd, tmp_path):
    document = read_json(ssd.annotations_file)
    broken = document["images"][4]
    for image in document["images"]:
        (tmp_path / image["file_name"]).write_bytes(
            (ssd.folder / "val" / image["file_name"]).read_bytes()
        )
    (tmp_path / broken["file_name"]).write_bytes(b"no picture")
    evaluation = detections.Evaluation(ssd.config, ssd.annotations_file, tmp_path, batch_size=2)
    evaluation.restore(str(ssd.checkpoint_dir))
    with pytest.raises(UserError, match=rf"{broken['file_name']} \(image id {broken['id']}\)"):
        results.write(evaluation, tmp_path / "a.json", progress=False)


def test_weights_that_are_no_numbers_are_told(ssd, tmp_path):
    class Evaluation:
        annotations_file = ssd.annotations_file

        def found(self, progress):
            image_id = read_json(ssd.annotations_file)["images"][0]["id"]
            yield detections.Found(image_id, [1], np.full((1, 4), np.nan), np.ones(1))

    with pytest.raises(UserError, match="no finite number"):
        results.write(Evaluation(), tmp_path / "a.json.gz")
    assert not list(tmp_path.iterdir())


def test_compressed_content_is_what_was_hashed(ssd, tmp_path):
    import hashlib

    evaluation = ssd.evaluation()
    evaluation.restore(str(ssd.checkpoint_dir))
    _, result = results.write(evaluation, tmp_path / "a.json.gz", progress=False)
    content = gzip.decompress((tmp_path / "a.json.gz").read_bytes())
    assert result.detections.sha256 == hashlib.sha256(content).hexdigest()
