"""Detectron2's configuration keys that the project uses, with Detectron2's default values."""

from .config import CfgNode

_C = CfgNode(
    {
        "VERSION": 2,
        "MODEL": {
            "DEVICE": "cuda",
            "META_ARCHITECTURE": "GeneralizedRCNN",
            "WEIGHTS": "",
            "MASK_ON": False,
            "PIXEL_MEAN": [103.530, 116.280, 123.675],  # BGR
            "PIXEL_STD": [1.0, 1.0, 1.0],
            "BACKBONE": {"NAME": "build_resnet_backbone", "FREEZE_AT": 2},
            "PROPOSAL_GENERATOR": {"NAME": "RPN", "MIN_SIZE": 0},
        },
        "INPUT": {"FORMAT": "BGR", "MASK_FORMAT": "polygon"},
        "DATASETS": {"TRAIN": (), "TEST": ()},
        "DATALOADER": {
            "NUM_WORKERS": 4,
            "ASPECT_RATIO_GROUPING": True,
            "SAMPLER_TRAIN": "TrainingSampler",
            "FILTER_EMPTY_ANNOTATIONS": True,
        },
        "SOLVER": {
            "LR_SCHEDULER_NAME": "WarmupMultiStepLR",
            "MAX_ITER": 40000,
            "BASE_LR": 0.001,
            "BASE_LR_END": 0.0,  # of WarmupCosineLR
            "MOMENTUM": 0.9,
            "NESTEROV": False,
            "WEIGHT_DECAY": 0.0001,
            "WEIGHT_DECAY_NORM": 0.0,
            "WEIGHT_DECAY_BIAS": None,  # as WEIGHT_DECAY
            "BIAS_LR_FACTOR": 1.0,
            "GAMMA": 0.1,
            "STEPS": (30000,),
            "WARMUP_FACTOR": 1.0 / 1000,
            "WARMUP_ITERS": 1000,
            "WARMUP_METHOD": "linear",
            "RESCALE_INTERVAL": False,
            "CHECKPOINT_PERIOD": 5000,
            "IMS_PER_BATCH": 16,  # over all processes
            "REFERENCE_WORLD_SIZE": 0,
            "CLIP_GRADIENTS": {
                "ENABLED": False,
                "CLIP_TYPE": "value",
                "CLIP_VALUE": 1.0,
                "NORM_TYPE": 2.0,
            },
            "AMP": {"ENABLED": False},
        },
        "TEST": {"EXPECTED_RESULTS": [], "EVAL_PERIOD": 0, "DETECTIONS_PER_IMAGE": 100},
        "OUTPUT_DIR": "./output",
        "SEED": -1,
        "CUDNN_BENCHMARK": False,
        "FLOAT32_PRECISION": "",
        "VIS_PERIOD": 0,
    }
)
