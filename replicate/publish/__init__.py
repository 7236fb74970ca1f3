"""A result in the formats that others read; nothing is sent anywhere.

from replicate import publish
publish.write("runs/a", "eee", "published", publish.Terms(organization="Example Lab"))
"""

from replicate.publish.material import Material, Terms
from replicate.publish.writing import FORMATS, write

__all__ = ["FORMATS", "Material", "Terms", "write"]
