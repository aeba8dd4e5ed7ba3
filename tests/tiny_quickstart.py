"""What makes configs/quickstart/cfrsam.yaml a model that runs untrained in a test."""

from known_prompts import discs
from torch import Tensor

from cfrsam_d2.modeling.mask_head.head import ImageMaps, MaskPredictions, PointPromptedMaskHead

TINY = [
    *("MODEL.DEVICE", "cpu"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    # An untrained learner sees nuclei everywhere: keep few of them.
    *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "24.0"),
    *("MODEL.SAM.EMBED_DIM", "48", "MODEL.SAM.ADAPTER_RANK", "8"),
    # And an untrained refinement makes masks of no pixel or of all.
    *("MODEL.MASK_HEAD.FINAL_MASK", "initial"),
]


def find_discs(head: PointPromptedMaskHead) -> None:
    """Let an untrained head find a disc around each prompt; its scores stay its own."""
    predict = head.predict

    def with_discs(maps: ImageMaps, prompts: Tensor, prompt_image: Tensor) -> MaskPredictions:
        predictions = predict(maps, prompts, prompt_image)
        points = prompts.flatten(1)[:, :2]  # without negative ones
        predictions.logits["initial"] = discs(points, *maps.frame_size).float() - 0.5
        return predictions

    head.predict = with_discs
