"""torch.compile of the parts that always get maps of one size."""

from torch import nn


def compile_parts(proposal_generator: nn.Module, encoder: nn.Module | None = None) -> None:
    """Let the ConvNeXt and the encoder's MLPs be compiled when they first run.

    MALA's and BGMR's loops over taps take minutes to compile on a CPU and are not faster for it.

    Args:
        proposal_generator: a prompt learner.
        encoder: SAM's.
    """
    proposal_generator.backbone.compile()
    if encoder is not None:
        for block in encoder.vit.blocks:
            block.mlp.compile()
