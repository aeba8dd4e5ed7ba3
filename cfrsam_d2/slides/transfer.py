"""Pixels on their way from the readers to the network's device; neither waits for the copy."""

import numpy as np
import torch


def pinned(pixels: np.ndarray) -> np.ndarray:
    """The same pixels in pinned memory, from which a GPU copies while the program goes on."""
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"])).pin_memory().numpy()


def on_device(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Pixels (h, w, 3) as a tensor (3, h, w) on a device."""
    tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    return tensor.to(device, non_blocking=True).permute(2, 0, 1).contiguous()
