"""A model and images to detections in the COCO results format.

Importing this room loads the engine (`replicate.odapi`).
"""

from replicate import odapi

odapi.load()
