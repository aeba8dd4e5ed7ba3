"""From files to what the model reads: datasets, mapper, loaders."""

from . import builtin  # noqa: F401  (imported for registration)
