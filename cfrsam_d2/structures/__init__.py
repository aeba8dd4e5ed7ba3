"""Masks in their boxes, one form from the mask head to files."""
