"""SAM's prompt encoder and mask decoder, as they are before training (paper 3.6.1)."""

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

EMBED_DIM = 256
POSITIVE, NEGATIVE, NOT_A_POINT = 1, 0, -1  # SAM's labels of points


def build_prompt_encoder(kind: type[PromptEncoder] = PromptEncoder) -> PromptEncoder:
    """SAM's, frozen. Its two sizes follow the input at each call."""
    encoder = kind(
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
