"""One HTML page about runs, in the order data meets them.

`run` reads output folders; `pairing` (an image's nuclei, side by side) → `analysis` (of a dataset)
and `bootstrap` compute; `plots`, `tables`, `picture` and `gallery` make the parts, the `…_sections`
put them together, and `page` is the whole. No model is run.
"""

from .comparison import read_material
from .page import build_page

__all__ = ["build_page", "read_material"]
