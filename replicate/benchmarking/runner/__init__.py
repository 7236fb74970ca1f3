"""Detectors in a process of their own, with another Python: files that need nothing of the kit.

`serve.py` runs there; it needs NumPy. `hugging_face.py` is a detector of the Transformers library.
"""
