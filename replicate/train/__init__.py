"""Trains the Object Detection API's models, unmodified, through Orbit.

Importing this room loads the engine (`replicate.odapi`).
"""

from replicate import odapi

odapi.load()
