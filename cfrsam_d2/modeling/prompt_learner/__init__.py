"""Stage 1: from an image to the centroids of its nuclei, with their classes.

In the order data meets them: `backbone`, `neck`, `anchors`, `heads`; then `matcher` and `losses`
in training, `selection` in inference. `generator` puts them together; `box_generator` adds a head
for boxes in place of points.
"""

from .box_generator import BoxProposalGenerator
from .generator import CentroidProposalGenerator, PointPredictions

__all__ = ["BoxProposalGenerator", "CentroidProposalGenerator", "PointPredictions"]
