"""Seeds."""

import os
import random

import numpy as np
import torch


def seed_all_rng(seed: int | None = None) -> None:
    """Seed torch, numpy and Python; without a seed, from the operating system's entropy."""
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # of every device
