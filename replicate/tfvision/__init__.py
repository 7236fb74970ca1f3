"""TF-Vision (official/vision of tf-models-official): the second engine.

The one room that may import `official`, and it does so unmodified. Importing this package imports
no TensorFlow; configs are rendered, compared and checked without it (`experiments`, `yaml_text`,
`lint`, `diff`, `render`), from data that `python -m replicate.tfvision.generate` takes out of the
package.
"""
