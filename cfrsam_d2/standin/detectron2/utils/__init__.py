"""Processes, logs, events, files."""
