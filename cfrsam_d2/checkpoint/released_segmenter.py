"""Names of the released stage 2's parameters and its modules', and the project's for them."""

Renames = list[tuple[str, str]]

MALA_RENAMES: Renames = [
    (r"^gammax$", "input_scale"),
    (r"^gamma$", "norm_scale"),
    (r"^norm\.", "norm."),
    (r"^project1\.", "down."),
    (r"^project2\.", "up."),
    (r"^adapter_conv\.conv1\.", "conv.kernel_convs.0."),
    (r"^adapter_conv\.conv2\.", "conv.kernel_convs.1."),
    (r"^adapter_conv\.conv3\.", "conv.kernel_convs.2."),
    (r"^adapter_conv\.projector\.", "conv.mix."),
]

HMFM_RENAMES: Renames = [(r"^attn_conv\.", "gates.")]

BGMR_RENAMES: Renames = [
    (r"^img_in_conv\.", "mcbe.base."),
    (r"^img_er\.in_conv\.", "mcbe.first."),
    (r"^img_er\.mid_conv\.", "mcbe.contexts."),
    (r"^img_er\.edge_enhance\.(?P<e>\d)\.out_conv\.", r"mcbe.enhancers.\g<e>."),
    (r"^img_er\.out_conv\.", "mcbe.out."),
    (r"^feature_upsample\.(?P<u>[01])\.", r"upsample.0.\g<u>."),
    (r"^feature_upsample\.4\.", "upsample.1.1."),
    (r"^feature_upsample\.5\.", "upsample.1.2."),
    (r"^feature_upsample\.8\.", "upsample.2.1."),
    (r"^feature_upsample\.9\.", "upsample.2.2."),
    (r"^LSE\.cbn1\.conv\.", "bgff.plain.0."),
    (r"^LSE\.cbn1\.bn\.", "bgff.plain.1."),
    (r"^LSE\.dcn3\.dcn_offset\.", "bgff.deform.offset."),
    (r"^LSE\.dcn3\.dcn\.", "bgff.deform.conv."),
    (r"^LSE\.dcn3\.dcn_bn\.", "bgff.deform.norm."),
    (r"^LSE\.conv1\.", "bgff.plain_attention.conv."),
    (r"^LSE\.conv2\.", "bgff.deform_attention.conv."),
    (r"^LSE\.cbn2\.conv\.", "bgff.fuse.0."),
    (r"^LSE\.cbn2\.bn\.", "bgff.fuse.1."),
    (r"^edge_conv\.0\.conv\.", "boundary_head.0.0."),
    (r"^edge_conv\.0\.bn\.", "boundary_head.0.1."),
    (r"^edge_conv\.(?P<b>[13])\.", r"boundary_head.\g<b>."),
    (r"^edge_rec\.conv1\.", "refinement.reduce."),
    (r"^edge_rec\.dcn\.dcn_offset\.", "refinement.deform.offset."),
    (r"^edge_rec\.dcn\.dcn\.", "refinement.deform.conv."),
    (r"^edge_rec\.dcn\.dcn_bn\.", "refinement.deform.norm."),
    (r"^edge_rec\.conv2\.", "refinement.expand."),
    (r"^edge_rec\.norm\.", "refinement.norm."),
    (r"^fusion_conv\.(?P<m>[01])\.", r"mask_head.0.\g<m>."),
    (r"^fusion_conv\.3\.", "mask_head.1.0."),
    (r"^fusion_conv\.4\.", "mask_head.1.1."),
    (r"^out_conv\.", "mask_head.2."),
]

# What the released module carries but never uses.
UNUSED = r"^deep_out_conv\."


def _inside(theirs: str, ours: str, renames: Renames) -> Renames:
    """The renames of a module that sits in a larger one."""
    return [(f"^{theirs}{old[1:]}", f"{ours}{new}") for old, new in renames]


SEGMENTER_RENAMES: Renames = [
    *_inside(
        r"image_encoder\.blocks\.(?P<block>\d+)\.my_module_1\.",
        r"backbone.adapters.\g<block>.attn.",
        MALA_RENAMES,
    ),
    *_inside(
        r"image_encoder\.blocks\.(?P<block>\d+)\.my_module_2\.",
        r"backbone.adapters.\g<block>.block.",
        MALA_RENAMES,
    ),
    (r"^image_encoder\.(?!blocks\.\d+\.my_module)", "backbone.vit."),
    (r"^(prompt_encoder|mask_decoder)\.", r"mask_head.\1."),
    *_inside(r"fusion_block\.", "mask_head.fusion.", HMFM_RENAMES),
    (r"^deep_feautre_conv\.1\.", "mask_head.deep_branch.0.1."),
    (r"^deep_feautre_conv\.2\.", "mask_head.deep_branch.0.2."),
    (r"^deep_feautre_conv\.5\.", "mask_head.deep_branch.1.1."),
    (r"^deep_feautre_conv\.6\.", "mask_head.deep_branch.1.2."),
    *_inside(r"detail_enhance\.", "mask_head.bgmr.", BGMR_RENAMES),
]
