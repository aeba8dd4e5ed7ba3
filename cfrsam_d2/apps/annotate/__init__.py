"""The nuclei of one image, added and removed by hand: `session` without a page, `page` with one."""

from .session import AnnotationSession

__all__ = ["AnnotationSession"]
