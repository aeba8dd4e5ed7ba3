"""What makes configs/train_demo/cfrsam.yaml a model that runs untrained in a test."""

TINY = [
    *("MODEL.DEVICE", "cpu"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    # An untrained learner sees nuclei everywhere: keep few of them.
    *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "24.0"),
    *("MODEL.SAM.EMBED_DIM", "48", "MODEL.SAM.ADAPTER_RANK", "8"),
    # And an untrained refinement makes masks of no pixel or of all.
    *("MODEL.MASK_HEAD.FINAL_MASK", "initial"),
]
