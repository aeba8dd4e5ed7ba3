"""Names of the released prompt learner's parameters, and the project's for them."""

# (pattern, replacement) for `re.sub`: exactly one pattern matches each released name.
PROMPT_LEARNER_RENAMES: list[tuple[str, str]] = [
    (r"^backbone\.backbone\.(stem|stages)\.(\d+)\.", r"proposal_generator.backbone.\1_\2."),
    (
        r"^backbone\.neck\.lateral_convs\.(\d+)\.conv\.",
        r"proposal_generator.neck.lateral_convs.\1.",
    ),
    (r"^backbone\.neck\.fpn_convs\.(\d+)\.conv\.", r"proposal_generator.neck.output_convs.\1."),
    (
        r"^backbone\.neck1\.lateral_convs\.(\d+)\.conv\.",
        r"proposal_generator.mask_neck.lateral_convs.\1.",
    ),
    (
        r"^backbone\.neck1\.fpn_convs\.(\d+)\.conv\.",
        r"proposal_generator.mask_neck.output_convs.\1.",
    ),
    (r"^deform_layer\.layers\.", "proposal_generator.offset_head."),
    (r"^conv\.", "proposal_generator.descriptor."),
    (r"^reg_head\.layers\.", "proposal_generator.regression_head."),
    (r"^cls_head\.layers\.", "proposal_generator.classification_head."),
    (r"^mask_head\.", "proposal_generator.mask_head."),
]
