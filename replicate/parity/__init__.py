"""The Object Detection API on this TensorFlow against the same API on its native one.

`fixed.py` and `runs.py` are run in both environments and import nothing of the kit, but for the
kit's own run, in which its loader restores the native checkpoint; `native.py` makes the native
environment; `compare.py` holds two runs against each other.
"""
