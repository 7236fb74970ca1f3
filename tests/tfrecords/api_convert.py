"""Runs the Object Detection API's own converter, for the tests and the benchmark to compare with.

    python tests/tfrecords/api_convert.py ANNOTATIONS IMAGE_DIR OUTPUT NUM_SHARDS MASKS [KEYPOINTS]

A process of its own, because the converter defines absl flags when it is imported. Prints the
seconds that the conversion took and its processor's seconds, imports apart.
"""

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

    annotations, image_dir, output, num_shards, masks, *keypoints = sys.argv[1:]
    start, start_cpu = time.perf_counter(), time.process_time()
    api._create_tf_record_from_coco_annotations(
        annotations, image_dir, output, masks == "True", int(num_shards), *keypoints
    )
    print(time.perf_counter() - start, time.process_time() - start_cpu)


if __name__ == "__main__":
    main()
