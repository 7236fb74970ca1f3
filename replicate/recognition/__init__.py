"""Multi-label recognition: which of the categories appear in an image, from the same TFRecords.

Importing this package alone loads nothing; its modules that compute get TensorFlow from
`engine`, with Keras 2 as `tf.keras`.
"""
