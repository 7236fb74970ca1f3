"""A model and images to detections in the COCO results format."""
