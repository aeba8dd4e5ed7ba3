"""CFR-SAM as a plugin of napari: `napari.yaml` tells it what `widget` has."""
