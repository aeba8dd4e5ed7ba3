"""Every configuration key that the project adds to Detectron2's, with its unit and its source."""

from collections.abc import Mapping
from typing import TypeVar

from detectron2.config import CfgNode as CN

from .errors import UserError

Part = TypeVar("Part")


def choose(parts: Mapping[str, Part], name: str, key: str) -> Part:
    """The part that a key chooses by its name.

    Args:
        parts: by name.
        name: the value of the key.
        key: the key, or the argument, that has it.

    Raises:
        UserError: there is none of that name.
    """
    if name not in parts:
        raise UserError(f"{key} is {name!r}: choose one of {', '.join(parts)}")
    return parts[name]


def add_cfrsam_config(cfg: CN) -> None:
    """Add CFR-SAM's keys to `cfg` (in place) and set the Detectron2 defaults that suit nuclei."""
    _set_detectron2_defaults(cfg)
    _add_data_keys(cfg)
    _add_prompt_learner_keys(cfg)
    _add_sam_keys(cfg)
    _add_timm_keys(cfg)
    _add_mask_head_keys(cfg)
    _add_stage2_training_keys(cfg)
    _add_inference_keys(cfg)
    _add_solver_keys(cfg)


def custom_dataset() -> CN:
    """The keys of one dataset of DATASETS.CUSTOM."""
    return CN({"JSON": "", "IMAGES": ""})


def _set_detectron2_defaults(cfg: CN) -> None:
    cfg.VERSION = 2
    cfg.SEED = 0  # a fixed seed: the same run gives the same numbers
    cfg.INPUT.FORMAT = "RGB"
    # ImageNet's statistics in 0..255, for both stages.
    cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]
    cfg.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]
    cfg.MODEL.META_ARCHITECTURE = "CFRSAM"
    # Or in SAM's place "SharedEncoder", stage 1's network, or "TimmEncoder", a ViT of timm
    # (modeling/sam/shared_encoder.py, modeling/sam/timm_encoder.py).
    cfg.MODEL.BACKBONE.NAME = "SAMEncoder"
    # Or "BoxProposalGenerator", in both stages: boxes prompt stage 2 (Table 11).
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "CentroidProposalGenerator"
    cfg.MODEL.WEIGHTS = ""
    # Tiles without nuclei are data, too.
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False


def _add_data_keys(cfg: CN) -> None:
    # Datasets for evaluation during training; the best checkpoint is chosen on them.
    # DATASETS.TEST is scored once, after training or by --eval-only.
    cfg.DATASETS.VAL = ()
    # The user's own data: COCO-format JSON files and image folders, registered as custom_train,
    # custom_val, custom_test, and custom_<name> of any other <NAME>. Classes come from the files.
    cfg.DATASETS.CUSTOM = CN()
    for split in ("TRAIN", "VAL", "TEST"):
        cfg.DATASETS.CUSTOM[split] = custom_dataset()
    # Images are rescaled to this magnification before all else, and their predictions back to the
    # files' own pixels; 0: images as they are. The lengths below are in px of this magnification.
    cfg.INPUT.MAGNIFICATION = 0
    # "none", "prompt_learner" (stage 1's in the released code) or "sam" (stage 2's).
    cfg.INPUT.AUGMENTATION = "none"
    # Side of the random training crop in px; smaller images are padded to it. 0 keeps images whole.
    cfg.INPUT.TRAIN_CROP_SIZE = 0
    # With each of these: hematoxylin and eosin of every training image are scaled by 1 ± this at
    # random, and shifted by ± this of both together (Tellez et al., 2018); below 1. 0: not at all.
    cfg.INPUT.STAIN_AUGMENTATION = 0.0


def _add_prompt_learner_keys(cfg: CN) -> None:
    node = cfg.MODEL.PROMPT_LEARNER = CN()
    node.NUM_CLASSES = 5
    # A ConvNeXt of timm; behind the point, which weights of it (ConvNeXt's authors', ImageNet-1k).
    node.BACKBONE = "convnext_small.fb_in1k"
    node.DEPTHS = []  # blocks of each of its four levels; empty: timm's own
    node.DIMS = []  # channels of each level; empty: timm's own
    node.PRETRAINED = True  # its training starts from ImageNet weights, through timm
    node.PRETRAINED_FILE = ""  # a local file of them; empty: timm downloads it
    node.HIDDEN_DIM = 256  # channels of necks, descriptor and heads
    node.NUM_LEVELS = 3  # pyramid levels sampled: 3 PanNuke, 4 CPM-17 and MoNuSeg
    node.ANCHOR_STRIDE = 8  # px between anchors: 8 PanNuke, 16 CPM-17 and MoNuSeg
    # Where maps are sampled: "published", which moves points with the size of their image, from
    # -0.7 px at the left to +0.8 at the right of 2048 px, or "centred", everywhere as published for
    # the middle: the same points whatever an image is cut to.
    node.SAMPLING = "published"
    node.DISTANCE_WEIGHT = 0.1  # matching cost per px of distance (Eq. 1)
    node.BACKGROUND_WEIGHT = 0.4  # beta of Eq. 2: 0.4 PanNuke, 0.25 CPM-17, 0.2 MoNuSeg
    # Of each class in that loss, NUM_CLASSES numbers; empty: all 1, as published. Nuclei of unknown
    # class weigh 1.
    node.CLASS_WEIGHTS = []
    node.REGRESSION_WEIGHT = 5e-3  # lambda of Eq. 2
    node.SUPPRESSION_RADIUS = 3.0  # px: 3 PanNuke, 12 CPM-17, 11 MoNuSeg
    # A point sees a nucleus where the probabilities of all classes add up to this; 0: as published,
    # where one class is likelier than background, which misses nuclei whose class is in doubt.
    node.FOREGROUND_THRESH = 0.0
    node.KEEP_ON_MASK_ONLY = False  # drop points off the auxiliary mask (CPM-17, MoNuSeg)


def _add_sam_keys(cfg: CN) -> None:
    node = cfg.MODEL.SAM = CN()
    node.WEIGHTS = ""  # Meta's sam_vit_*.pth, from which training starts; empty: random
    node.EMBED_DIM = 768
    node.DEPTH = 12
    node.NUM_HEADS = 12
    node.GLOBAL_ATTN_INDEXES = [2, 5, 8, 11]
    node.ATTENTION_WINDOW = 14  # side of the windows that blocks attend in, cells of 16 px
    node.FREEZE = True  # of the encoder; the adapters train
    # What adapts its blocks: MALA or one of Tables 7 and 8, see ADAPTERS in
    # modeling/sam/adapters.py.
    node.ADAPTER = "MALA"
    node.ADAPTER_RANK = 64  # channels of its bottleneck


def _add_timm_keys(cfg: CN) -> None:
    """Of the encoder where MODEL.BACKBONE.NAME is TimmEncoder; FREEZE and ADAPTER* are SAM's."""
    node = cfg.MODEL.TIMM = CN()
    # A plain ViT of timm; behind the point, which weights of it.
    node.NAME = "vit_small_patch16_224.dino"
    # Arguments of its constructor that are not timm's own, as "init_values=1e-5, reg_tokens=4".
    node.OPTIONS = ""
    node.PRETRAINED = True  # a training starts from weights of it, through timm
    node.PRETRAINED_FILE = ""  # a local file of them; empty: timm downloads it
    # Of R, G and B in 0..1, with which the weights were trained; empty: as timm says.
    node.PIXEL_MEAN = []
    node.PIXEL_STD = []


def _add_mask_head_keys(cfg: CN) -> None:
    node = cfg.MODEL.MASK_HEAD = CN()
    node.FOCAL_WEIGHT = 20.0  # lambda of Eq. 16
    node.BOUNDARY_WEIGHT = 0.01  # Eq. 15
    # What makes one map of the encoder's levels: HMFM or one of Table 7, see FUSIONS in
    # modeling/mask_head/fusions.py.
    node.FUSION = "HMFM"
    # What refines the initial masks: BGMR or one of Table 7, see REFINERS in
    # modeling/mask_head/refiners.py.
    node.REFINEMENT = "BGMR"
    # Sides in px of the crops that BGMR refines in inference; each nucleus takes the smallest that
    # holds its initial mask with the halo, its prompt in the middle. Empty: all at full frame.
    node.CROP_SIZES = []
    # The same in training: all nuclei of a step take one side, the smallest that holds the largest
    # of them with its halo. Empty: full frame, as published.
    node.TRAIN_CROP_SIZES = []
    node.CROP_HALO = 24  # px of context kept around a mask; BGMR's receptive field
    # BGMR's activations are computed again in the backward pass rather than kept: same gradients,
    # less memory, more time (docs/training.md).
    node.CHECKPOINT_ACTIVATIONS = False
    node.PROMPTS_PER_CHUNK = 16  # prompts decoded at once in inference; bounds memory
    node.FINAL_MASK = "refined"  # or "initial": what inference returns
    # A second opinion on each nucleus's class, from the features under its initial mask: classes
    # are the likeliest by the product of its probabilities and stage 1's.
    node.CLASS_HEAD = False


def _add_stage2_training_keys(cfg: CN) -> None:
    node = cfg.MODEL.CFRSAM = CN()
    node.PROMPT_LEARNER_WEIGHTS = ""  # checkpoint of stage 1, from which training starts; frozen
    # Whether checkpoints hold what stays frozen and comes from a file: the prompt learner, SAM's
    # encoder and its prompt encoder. False makes them small; these files are then read again.
    node.SAVE_FROZEN = True
    # Prompts that train stage 2: "learner" (its predictions on the clean images), "centroid" or
    # "random" interior points of the ground truth; of boxes, "centroid" are the ground truth's own.
    node.TRAIN_PROMPTS = "learner"
    node.MAX_TRAIN_NUCLEI = 25  # nuclei per image, drawn at random
    # The nearest other points of a window that stand beside a point as negative ones, in training
    # and in inference.
    node.NEGATIVE_PROMPTS = 0
    # Boxes of BoxProposalGenerator prompt together with their points, not in place of them.
    node.BOX_BESIDE_POINT = False


def _add_inference_keys(cfg: CN) -> None:
    cfg.MODEL.CFRSAM.NMS_THRESH = 0.5  # box IoU: 0.5 PanNuke and CPM-17, 0.3 MoNuSeg
    # Two nuclei of one class that NMS leaves, of which at least this share of the smaller one's px
    # lies in the other, become one; 0: none do, as published.
    cfg.MODEL.CFRSAM.MERGE_OVERLAP = 0.0
    # px: nuclei that touch the image's edge with fewer are dropped; 0: none.
    cfg.MODEL.CFRSAM.MIN_BORDER_AREA = 0
    # Larger images are cut into windows for stage 2.
    node = cfg.MODEL.SLIDING_WINDOW = CN()
    node.SIZE = 256  # px that the encoder sees at once
    node.OVERLAP = 64  # px
    node.EDGE_TOLERANCE = 7  # px: masks this near to an inner window edge are dropped
    node.BATCH = 8  # windows of 256×256 px encoded at once, fewer of larger ones; bounds memory
    # px: in larger windows each prompt is decoded in a part of this size of the window's maps.
    node.FRAME = 256
    # A prompt in the overlap of windows is decoded in each of them, as published, and the best mask
    # stays; or only in the one that reaches farthest around it.
    node.REPEAT_PROMPTS = False
    # Whole slides, px at the model's resolution, multiples of 32: the side of what stage 1 looks at
    # at once, and the context around it; and the threads that read ahead.
    cfg.SLIDE = CN({"TILE": 1280, "HALO": 128, "READERS": 2})
    # Masks of stage 2 averaged over flips and rotations of each window: eight times the work.
    cfg.TEST.AUG.ENABLED = False
    # Points of stage 1 averaged over flips and rotations of each image: eight times its work.
    cfg.TEST.AUG.POINTS = False
    # Inference in bfloat16 where that does no harm; SOLVER.AMP.ENABLED is the same for training.
    cfg.TEST.AMP = CN({"ENABLED": False})


def _add_solver_keys(cfg: CN) -> None:
    cfg.SOLVER.OPTIMIZER = "ADAM"  # or "ADAMW"; betas 0.9 and 0.999
    cfg.SOLVER.WEIGHT_DECAY = 1e-4
    cfg.SOLVER.WEIGHT_DECAY_NORM = None  # as all other parameters
    cfg.SOLVER.WARMUP_ITERS = 0
    # CLIP_TYPE "full_model" clips the total norm; Detectron2's own types clip each parameter.
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.SOLVER.EMA_DECAY = 0.0  # of the averaged weights that are evaluated and kept; 0: none
    # The metric of the validation split, as "group/name" of the evaluator, that picks the best.
    cfg.TEST.BEST_METRIC = "segmentation/bPQ"
    # Centroids within so many px at 40x pair for detection/mean_class_F1, by which stage 1 is
    # chosen: 3 PanNuke, 12 CPM-17 and MoNuSeg.
    cfg.TEST.CLASS_F1_RADIUS = 3.0
    # Training ends after this many evaluations in a row without a better score; 0: never early.
    cfg.TEST.EARLY_STOPPING_PATIENCE = 0
