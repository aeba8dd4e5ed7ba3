"""One HTML page about runs, in the order data meets them.

`run` reads output folders, `comparison` puts runs side by side; `error_analysis` → `breakdowns`
compute, by `pairing` and `bootstrap` of `evaluation`; `plots`, `tables`, `picture` and `gallery`
make the parts, the `…_sections` put them together, and `page` is the whole. No model is run.
"""

from .comparison import read_comparison
from .page import build_page

__all__ = ["build_page", "read_comparison"]
