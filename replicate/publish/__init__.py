"""A result in the formats that others read; nothing is sent anywhere.

from replicate import publish
publish.write("runs/a", "eee", "published", publish.PublisherTerms(organization="Example Lab"))
"""

from replicate.publish.published_result import PublishedResult, PublisherTerms
from replicate.publish.writing import FORMATS, why_no_entry, write

__all__ = ["FORMATS", "PublishedResult", "PublisherTerms", "why_no_entry", "write"]
