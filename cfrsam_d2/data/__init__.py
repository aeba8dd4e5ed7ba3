"""From files to what the model reads: datasets, mapper, loaders."""

import os

# albumentations asks the package index for its newest version when it is imported, which several
# modules here do: nothing must wait for the network or print about it.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from . import builtin  # noqa: F401  (imported for registration)
