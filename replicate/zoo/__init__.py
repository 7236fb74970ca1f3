"""The published rows of the TensorFlow 2 detection zoo, and where each figure was published.

from replicate import zoo
zoo.find("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8").box_map      # 22.2
zoo.find("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8").figures
"""

from replicate.zoo.figures import KINDS as KINDS
from replicate.zoo.figures import Figure as Figure
from replicate.zoo.reruns import Gaps as Gaps
from replicate.zoo.reruns import Rerun as Rerun
from replicate.zoo.reruns import all_reruns as all_reruns
from replicate.zoo.reruns import gaps_by_resizer as gaps_by_resizer
from replicate.zoo.reruns import reruns as reruns
from replicate.zoo.row import Row as Row
from replicate.zoo.starting import StartingPoint as StartingPoint
from replicate.zoo.starting import starting_point as starting_point
from replicate.zoo.starting import starting_points as starting_points
from replicate.zoo.table import families as families
from replicate.zoo.table import find as find
from replicate.zoo.table import get as get
from replicate.zoo.table import rows as rows
from replicate.zoo.table import unknown as unknown
