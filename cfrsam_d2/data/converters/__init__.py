"""Datasets from releases and from users' own labels (`datasets/prepare.py`)."""
