"""Command lines, each the `main` of `cfrsam NAME` and of a script of the clone.

They are read before anything is imported that takes time.
"""
