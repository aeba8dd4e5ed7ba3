"""SAM's prompt encoder and mask decoder, as they are before training (paper 3.6.1)."""

from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import nn

EMBED_DIM = 256


def build_prompt_encoder() -> PromptEncoder:
    """SAM's, frozen. Its two sizes follow the input at each call."""
    encoder = PromptEncoder(
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
