"""The project's own small stand-in for Detectron2: the names it uses, by the same paths."""

__version__ = "0.6+standin"
