"""SAM's prompt encoder and mask decoder, as they are before training (paper 3.6.1)."""

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

EMBED_DIM = 256
POSITIVE, NEGATIVE, NOT_A_POINT = 1, 0, -1  # SAM's labels of points


class PointEncoder(PromptEncoder):
    """SAM's prompt encoder, its points embedded without a look at which labels there are.

    SAM's own picks them out one label after the other, for which a GPU has to wait, and an exported
    network would have to count them.
    """

    def _embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """Embed R points with their labels, as SAM's does.

        Args:
            points: (R, n, 2), in px.
            labels: (R, n).
            pad: add one that is none, as SAM does where no boxes prompt.

        Returns:
            (R, n, C), or (R, n + 1, C).
        """
        if pad:
            points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=NOT_A_POINT)
        positions = self.pe_layer.forward_with_coords(points + 0.5, self.input_image_size)
        kinds = [self.not_a_point_embed, *self.point_embeddings]  # of the labels -1, 0, 1, …
        embeddings = torch.cat([kind.weight for kind in kinds])
        is_point = (labels != NOT_A_POINT)[..., None]
        return torch.where(is_point, positions, 0) + embeddings[labels - NOT_A_POINT]


def build_prompt_encoder() -> PromptEncoder:
    """SAM's, frozen. Its two sizes follow the input at each call."""
    encoder = PointEncoder(
        embed_dim=EMBED_DIM,
        image_embedding_size=(64, 64),
        input_image_size=(1024, 1024),
        mask_in_chans=16,
    )
    return encoder.requires_grad_(False)


def build_mask_decoder() -> MaskDecoder:
    """SAM's; without its weights, attention starts out between what lies close together.

    Queries and keys hold position encodings, which are alike where positions are: projected alike,
    they attend to their surroundings. Training from scratch otherwise takes hundreds of iterations
    to find out where a point is.
    """
    transformer = TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, num_heads=8, mlp_dim=2048)
    for module in transformer.modules():
        if isinstance(module, Attention):
            nn.init.xavier_uniform_(module.q_proj.weight)
            module.k_proj.load_state_dict(module.q_proj.state_dict())
    return MaskDecoder(transformer_dim=EMBED_DIM, transformer=transformer)


def point_labels(points: Tensor) -> Tensor:
    """SAM's labels of R points and k negative ones of each, NaN where there is none.

    Args:
        points: (R, 1+k, 2), the positive one first.

    Returns:
        (R, 1+k), int64.
    """
    is_first = torch.arange(points.shape[1], device=points.device) == 0
    return torch.where(is_first, POSITIVE, NEGATIVE).where(~points.isnan().any(dim=2), NOT_A_POINT)
