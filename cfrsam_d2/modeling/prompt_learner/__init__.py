"""Stage 1: from an image to the centroids of its nuclei, with their classes.

In the order data meets them: `backbone` and `generator`, the network; `points`, its anchors and
what is proposed; `matcher` and `losses` in training. `box_generator` adds a head for boxes in place
of points.
"""

from .box_generator import BoxProposalGenerator
from .generator import CentroidProposalGenerator, PointPredictions

__all__ = ["BoxProposalGenerator", "CentroidProposalGenerator", "PointPredictions"]
