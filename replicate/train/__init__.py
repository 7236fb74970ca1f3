"""Trains the Object Detection API's models, unmodified, through Orbit."""
