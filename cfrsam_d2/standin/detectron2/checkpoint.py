"""`DetectionCheckpointer`: fvcore's checkpointer in a run of several processes."""

from typing import Any

import torch
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import nn


class DetectionCheckpointer(Checkpointer):
    """Saves from the main process; also loads files that are a bare state dict."""

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool | None = None,
        **checkpointables: Any,
    ) -> None:
        saves = comm.is_main_process() if save_to_disk is None else save_to_disk
        super().__init__(model, save_dir, save_to_disk=saves, **checkpointables)

    def _load_file(self, filename: str) -> dict[str, Any]:
        path = self.path_manager.get_local_path(filename)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return loaded if "model" in loaded else {"model": loaded}
