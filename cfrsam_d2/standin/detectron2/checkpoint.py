"""`DetectionCheckpointer`: fvcore's checkpointer in a run of several processes."""

import os
from typing import Any

from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer"]


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
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self._distributed = isinstance(model, DistributedDataParallel)
        self.path_manager = PathManager

    def load(self, path: str, *args, **kwargs) -> dict[str, Any]:
        """Load `path`, which every process must be able to read; "" loads nothing."""
        if path and self._distributed:
            path = self.path_manager.get_local_path(path)
            if not all(comm.all_gather(os.path.isfile(path))):
                raise OSError(f"File {path} is not readable in every process.")
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        loaded = super()._load_file(filename)
        return loaded if "model" in loaded else {"model": loaded}

    def _load_model(self, checkpoint: dict[str, Any]):
        incompatible = super()._load_model(checkpoint)
        # The image statistics come from the config, so nothing is lost without them.
        for key in {"pixel_mean", "pixel_std"} & set(incompatible.missing_keys):
            incompatible.missing_keys.remove(key)
        return incompatible
