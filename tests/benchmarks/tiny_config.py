"""What makes configs/cfrsam_b.yaml a model that runs in a test."""

TINY = [
    *("MODEL.PROMPT_LEARNER.BACKBONE", "convnext_tiny"),
    *("MODEL.PROMPT_LEARNER.DEPTHS", "[1, 1, 1, 1]"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 8, 16, 16]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    *("MODEL.SAM.EMBED_DIM", "24", "MODEL.SAM.DEPTH", "4", "MODEL.SAM.NUM_HEADS", "2"),
    *("MODEL.SAM.GLOBAL_ATTN_INDEXES", "[1, 3]"),
    *("MODEL.MASK_HEAD.CROP_SIZES", "[32]", "MODEL.MASK_HEAD.CROP_HALO", "4"),
    *("MODEL.MASK_HEAD.TRAIN_CROP_SIZES", "[32]"),
]
