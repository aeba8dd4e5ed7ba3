"""What `tools/visualize_data.py` does: pictures of a dataset's nuclei."""

from pathlib import Path

from tqdm import tqdm

from ..data.mapper import NucleusMapper
from ..engine import check_registered, load_config
from ..visualization import choose_images, draw_picture, write_picture


def draw_data(dataset_name: str, config_file: str | None, count: int, folder: Path) -> None:
    """Write a picture of each of some evenly chosen images of a registered dataset.

    Args:
        dataset_name: its name.
        config_file: whose DATASETS.CUSTOM is registered before.
        count: of pictures.
        folder: where they go.

    Raises:
        UserError: the dataset is not registered, or the config cannot be used.
    """
    if config_file:
        load_config(config_file)
    check_registered("--dataset", dataset_name)
    read = NucleusMapper(augmentation=None)
    for dataset_dict in tqdm(choose_images(dataset_name, count), unit="image"):
        image = read(dataset_dict)["image"].permute(1, 2, 0).numpy()
        write_picture(folder, dataset_dict, draw_picture(dataset_name, dataset_dict, image))
