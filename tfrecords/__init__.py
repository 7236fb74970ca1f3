"""COCO JSON to sharded TFRecords and back, with nothing lost silently."""
