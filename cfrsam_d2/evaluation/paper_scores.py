"""The scores that the paper reports for CFR-SAM with SAM ViT-B ("b") and ViT-H ("h").

From Tables 1 to 6 of "Adapting SAM to Nuclei Instance Segmentation and Classification via
Cooperative Fine-Grained Refinement", in its order of rows and columns. Tables 1 to 4 are of
PanNuke: means over the three splits. Tissues and classes are named as in this project's
metrics.json. Tables 3 to 6 leave ViT-B out. At the end, the sizes and speeds that it reports.
"""

from collections.abc import Mapping, Sequence

# Table 1: bPQ and mPQ of ViT-B, then of ViT-H.
TISSUES = {
    "Adrenal_gland": {"b": (0.7161, 0.5111), "h": (0.7195, 0.5140)},
    "Bile_duct": {"b": (0.6931, 0.4952), "h": (0.6935, 0.4953)},
    "Bladder": {"b": (0.7234, 0.5902), "h": (0.7252, 0.5920)},
    "Breast": {"b": (0.6781, 0.5261), "h": (0.6804, 0.5280)},
    "Cervix": {"b": (0.7032, 0.5092), "h": (0.7073, 0.5123)},
    "Colon": {"b": (0.6080, 0.4681), "h": (0.6113, 0.4706)},
    "Esophagus": {"b": (0.6895, 0.5635), "h": (0.6919, 0.5660)},
    "HeadNeck": {"b": (0.6694, 0.5093), "h": (0.6761, 0.5141)},
    "Kidney": {"b": (0.7107, 0.5673), "h": (0.7136, 0.5688)},
    "Liver": {"b": (0.7415, 0.5267), "h": (0.7439, 0.5272)},
    "Lung": {"b": (0.6549, 0.4372), "h": (0.6598, 0.4393)},
    "Ovarian": {"b": (0.6853, 0.5465), "h": (0.6871, 0.5488)},
    "Pancreatic": {"b": (0.6903, 0.5073), "h": (0.6925, 0.5095)},
    "Prostate": {"b": (0.6963, 0.5422), "h": (0.6985, 0.5439)},
    "Skin": {"b": (0.6755, 0.4387), "h": (0.6777, 0.4399)},
    "Stomach": {"b": (0.7100, 0.4494), "h": (0.7155, 0.4543)},
    "Testis": {"b": (0.7108, 0.5312), "h": (0.7157, 0.5343)},
    "Thyroid": {"b": (0.7274, 0.4652), "h": (0.7293, 0.4662)},
    "Uterus": {"b": (0.6730, 0.4905), "h": (0.6754, 0.4915)},
}
# Its last two rows, over tissues.
AVERAGE = {"b": (0.6924, 0.5092), "h": (0.6955, 0.5114)}
STD = {"b": (0.0301, 0.0437), "h": (0.0298, 0.0436)}

# Table 2: mean and standard deviation over 15 evaluations, five trainings of each split.
OVERALL = {
    "b": {"mPQ": (0.5091, 0.0013), "bPQ": (0.6923, 0.0020), "AJI": (0.6865, 0.0001)},
    "h": {"mPQ": (0.5115, 0.0003), "bPQ": (0.6956, 0.0004), "AJI": (0.6887, 0.0004)},
}

# Table 3, ViT-H: precision, recall and F1 of detection, then of classification.
DETECTION = (0.82, 0.84, 0.83)
CLASSIFICATION = {
    "neoplastic": (0.75, 0.78, 0.76),
    "epithelial": (0.77, 0.80, 0.78),
    "inflammatory": (0.69, 0.71, 0.70),
    "connective": (0.63, 0.62, 0.62),
    "dead": (0.49, 0.42, 0.45),
}

# Table 4, ViT-H: PQ.
CLASS_PQ = {
    "neoplastic": 0.599,
    "epithelial": 0.589,
    "inflammatory": 0.428,
    "connective": 0.433,
    "dead": 0.153,
}

# Tables 5 and 6, ViT-H: CPM-17 and MoNuSeg. PQ is class-free.
CPM17 = {"AJI": 0.725, "PQ": 0.719}
MONUSEG = {"AJI": 0.668, "PQ": 0.662}

# What others report of themselves, to stand beside: PromptNucSeg-H ("Unleashing the Power of
# Prompt-driven Nucleus Instance Segmentation", arXiv:2311.15939), from which the released stage 1
# descends, and IVAAN-H, the highest known of PanNuke and MoNuSeg in 2026. PanNuke has bPQ and mPQ,
# the others AJI and PQ.
PEERS = {
    "PromptNucSeg-H": {"pannuke": (0.6924, 0.5123), "cpm17": (0.740, 0.733)},
    "IVAAN-H": {"pannuke": (0.698, 0.546), "cpm17": (0.743, 0.748), "monuseg": (0.689, 0.696)},
}

# Tables 7 and 9, and section 4.6 for ViT-H: trainable parameters of stage 2 in millions, by config.
TRAINABLE = {
    "cfrsam_b": 8.3,
    "cfrsam_h": 19.1,
    "ablations/finetune_full": 93.7,
    "ablations/finetune_head": 4.1,
    "ablations/mala_none": 4.6,
    "ablations/mala_static": 7.3,
    "ablations/mala_static_large": 8.8,
    "ablations/hmfm_none": 8.0,
    "ablations/hmfm_add": 8.0,
    "ablations/hmfm_concatenate": 8.3,
    "ablations/hmfm_average": 8.0,
    "ablations/bgmr_none": 8.0,
    "ablations/bgmr_mlp": 8.3,
    "ablations/bgmr_without_mcbe": 8.3,
    "ablations/bgmr_without_bgff": 8.3,
    "ablations/bgmr_without_boundary": 8.3,
    "ablations/rank_16": 5.6,
    "ablations/rank_32": 6.5,
    "ablations/rank_128": 12.1,
}

# Table 12, both stages: parameters that train and all of them, in millions; multiply-adds in
# billions; images per second. Of what image and how many nuclei, it does not say; section 4.3 names
# an RTX 3090.
EFFICIENCY = {
    "b": {"trainable": 63.4, "parameters": 153.1, "macs": 89.5, "images_per_second": 13},
    "h": {"trainable": 74.2, "parameters": 650.5, "macs": 299.7, "images_per_second": 7},
}

Metrics = Mapping[str, Mapping[str, float]]  # as in metrics.json


def paper_metrics(dataset_name: str) -> dict[str, Metrics]:
    """The paper's scores on a dataset, in the groups of metrics.json, and those of its peers.

    Args:
        dataset_name: registered; the folds of PanNuke have the means over its splits.

    Returns:
        Groups by model; {} where the paper says nothing.
    """
    if dataset_name in ("cpm17_test", "monuseg_test"):
        scores = CPM17 if dataset_name == "cpm17_test" else MONUSEG
        ours = {"segmentation": {"bPQ": scores["PQ"], "AJI": scores["AJI"]}}
        return {"CFR-SAM-H": ours, **_peers(dataset_name.removesuffix("_test"), ("AJI", "bPQ"))}
    if not dataset_name.startswith("pannuke_fold"):
        return {}
    detection = {"detection": _named(DETECTION), "classification": {}, "class_pq": CLASS_PQ}
    for name, scores in CLASSIFICATION.items():
        detection["classification"] |= _named(scores, f"_{name}")
    return {
        "CFR-SAM-B": _pannuke_segmentation("b"),
        "CFR-SAM-H": {**_pannuke_segmentation("h"), **detection},
        **_peers("pannuke", ("bPQ", "mPQ")),
    }


def _peers(dataset: str, names: tuple[str, str]) -> dict[str, Metrics]:
    return {
        model: {"segmentation": dict(zip(names, scores[dataset], strict=True))}
        for model, scores in PEERS.items()
        if dataset in scores
    }


def _pannuke_segmentation(model: str) -> Metrics:
    segmentation = {name: mean for name, (mean, _) in OVERALL[model].items()}
    segmentation |= zip(("bPQ_std", "mPQ_std"), STD[model], strict=True)
    return {
        "segmentation": segmentation,
        "tissue_bpq": {tissue: scores[model][0] for tissue, scores in TISSUES.items()},
        "tissue_mpq": {tissue: scores[model][1] for tissue, scores in TISSUES.items()},
    }


def _named(scores: Sequence[float], suffix: str = "") -> dict[str, float]:
    return {f"{name}{suffix}": score for name, score in zip(("P", "R", "F1"), scores, strict=True)}
