"""SAM's prompt encoder and mask decoder for the prompts of several images at once (paper 3.6.1).

B images, R prompts of all of them, h×w = H/16×W/16 cells, C = 256.
"""

from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import nn

EMBED_DIM = 256
PATCH_SIZE = 16  # px
MASK_TOKEN = 0  # SAM's single-mask output
FOREGROUND = 1  # SAM's label of a positive point


@dataclass
class CoarseMasks:
    """What the decoder says of R prompts.

    Attributes:
        logits: (R, H/4, W/4).
        pred_iou: estimated IoU of each mask, (R,).
        features: U, the up-scaled embedding, (R, 32, H/4, W/4).
    """

    logits: torch.Tensor
    pred_iou: torch.Tensor
    features: torch.Tensor


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


def decode_points(
    prompt_encoder: PromptEncoder,
    mask_decoder: MaskDecoder,
    embeddings: torch.Tensor,
    prompts: torch.Tensor,
    prompt_image: torch.Tensor,
) -> CoarseMasks:
    """One coarse mask a prompt.

    `MaskDecoder.forward` takes one image a call; here an index tells each prompt its image.

    Args:
        embeddings: (B, C, h, w).
        prompts: points (R, 2) or boxes (R, 4) in px, see `prompt_geometry`.
        prompt_image: index of each prompt's image, (R,).
    """
    height, width = embeddings.shape[-2:]
    prompt_encoder.image_embedding_size = (height, width)
    prompt_encoder.input_image_size = (height * PATCH_SIZE, width * PATCH_SIZE)
    with torch.autocast(prompts.device.type, enabled=False):  # bfloat16 is too coarse for positions
        sparse, dense = _embed_prompts(prompt_encoder, prompts)
        positions = prompt_encoder.get_dense_pe().expand(len(prompts), -1, -1, -1)

    own_tokens = torch.cat([mask_decoder.iou_token.weight, mask_decoder.mask_tokens.weight])
    tokens = torch.cat([own_tokens.expand(len(prompts), -1, -1), sparse], dim=1)  # (R, 5 + 2, C)
    tokens, image_tokens = mask_decoder.transformer(
        embeddings[prompt_image] + dense, positions, tokens
    )
    image_map = image_tokens.transpose(1, 2).unflatten(2, (height, width))  # (R, C, h, w)
    features = mask_decoder.output_upscaling(image_map)  # (R, 32, 4h, 4w)
    weights = mask_decoder.output_hypernetworks_mlps[MASK_TOKEN](tokens[:, 1 + MASK_TOKEN])
    return CoarseMasks(
        logits=torch.einsum("rc,rchw->rhw", weights, features).to(prompts.dtype),
        pred_iou=mask_decoder.iou_prediction_head(tokens[:, 0])[:, MASK_TOKEN].to(prompts.dtype),
        features=features,
    )


def _embed_prompts(
    prompt_encoder: PromptEncoder, prompts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """SAM's two tokens of each prompt (R, 2, C), and what it adds to the image (R, C, h, w)."""
    if prompts.shape[1] == 4:  # boxes
        return prompt_encoder(points=None, boxes=prompts, masks=None)
    labels = torch.full((len(prompts), 1), FOREGROUND, device=prompts.device)
    return prompt_encoder(points=(prompts[:, None], labels), boxes=None, masks=None)
