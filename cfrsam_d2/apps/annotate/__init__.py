"""Look at one image and change its prompts by hand."""

from .session import InspectionSession

__all__ = ["InspectionSession"]
