"""CFR-SAM on Detectron2."""

from . import standin

standin.install_if_missing()
