"""Stand-ins for the data files of the API's source repository that its tests read."""

import numpy as np
from google.protobuf import text_format
from PIL import Image

from replicate import config
from replicate.parity import fixed, runs

CLASSES = 37  # of the Oxford-IIIT Pet data set, whose first images the repository has


def write(folder):
    """Writes `samples/configs`, `data`, `test_data` and `test_images` below `folder`."""
    for name in ("samples/configs", "data", "test_data", "test_images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    label_map = "".join(f'item {{ id: {i} name: "pet_{i}" }}\n' for i in range(1, CLASSES + 1))
    (folder / "data" / "pet_label_map.pbtxt").write_text(label_map, encoding="utf-8")
    record = folder / "test_data" / "pets_examples.record"
    if not record.exists():
        runs.run_write_examples(str(record), images=3)
    picture = fixed.image(120, 160)[0].astype(np.uint8)
    Image.fromarray(picture).save(folder / "test_images" / "image1.jpg")
    message = config.template("ssd_mobilenet_v2_320x320_coco17_tpu-8")
    message.model.ssd.num_classes = CLASSES
    message.train_config.batch_size = 2
    path = folder / "samples" / "configs" / "ssd_mobilenet_v2_pets_keras.config"
    path.write_text(text_format.MessageToString(message), encoding="utf-8")
