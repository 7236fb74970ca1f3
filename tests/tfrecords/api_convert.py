"""Runs the Object Detection API's own converter, for the tests and the benchmark to compare with.

    python tests/tfrecords/api_convert.py JOB …

where JOB is a JSON list: annotation file, image folder, output path, number of shards, whether
with masks, and perhaps a keypoint annotation file. A process of its own, because the converter
defines absl flags when it is imported. Prints a line a job: the seconds that it took and its
processor's seconds, imports apart.
"""

import json
import os
import pathlib
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))


def main():
    from replicate import odapi

    odapi.load()
    from object_detection.dataset_tools import create_coco_tf_record as api

    for job in sys.argv[1:]:
        annotations, image_dir, output, num_shards, masks, *keypoints = json.loads(job)
        start, start_cpu = time.perf_counter(), time.process_time()
        api._create_tf_record_from_coco_annotations(
            annotations, image_dir, output, masks, num_shards, *keypoints
        )
        print(time.perf_counter() - start, time.process_time() - start_cpu)


if __name__ == "__main__":
    main()
