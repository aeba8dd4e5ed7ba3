import itertools

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.data.loader import (
    StreamSampler,
    TrainingStream,
    build_test_loader,
    build_train_loader,
)
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import encode_mask

NUM_IMAGES = 7


def make_dicts(folder):
    rng = np.random.default_rng(0)
    dicts = []
    for i in range(NUM_IMAGES):
        path = str(folder / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(path)
        annotations = []
        for k in range(3 * (i > 0)):  # the first image has no nuclei
            mask = BoxMask(4 * i, 5 + 10 * k, np.ones((8, 9), dtype=bool))
            segmentation = encode_mask(mask, 48, 48)
            nucleus = {"segmentation": segmentation, "category_id": k, "iscrowd": 0}
            annotations.append(nucleus | {"point": [4 * i + 4.0, 8.5 + 10 * k]})
        record = {"file_name": path, "image_id": i, "height": 48, "width": 48}
        dicts.append(record | {"annotations": annotations})
    return dicts


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    dicts = make_dicts(tmp_path_factory.mktemp("loader"))
    registered = {"loader_train": dicts, "loader_empty": [], "loader_no_nuclei": dicts[:1]}
    for name, content in registered.items():
        DatasetCatalog.register(name, lambda content=content: content)
        MetadataCatalog.get(name).thing_classes = ["a", "b", "c"]
    yield
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def cfg(datasets):
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.DATASETS.TRAIN = ("loader_train",)
    cfg.INPUT.AUGMENTATION, cfg.INPUT.TRAIN_CROP_SIZE = "prompt_learner", 32
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SEED = 3
    return cfg


def take(loader, number):
    return list(itertools.islice(loader, number))


def fingerprint(sample):
    instances = sample["instances"]
    return (
        sample["image_id"],
        sample["image"].numpy().tobytes(),
        instances.gt_masks.tensor.numpy().tobytes(),
        instances.gt_boxes.tensor.tolist(),
        instances.gt_classes.tolist(),
        instances.gt_points.numpy().tobytes(),
    )


def fingerprints(batches):
    return [[fingerprint(sample) for sample in batch] for batch in batches]


def test_the_gpus_share_the_positions_of_a_batch():
    for rank, expected in [(0, [12, 13, 18, 19]), (1, [14, 15, 20, 21]), (2, [16, 17, 22, 23])]:
        sampler = StreamSampler(6, start_iteration=2, rank=rank, world_size=3)
        assert take(sampler, 4) == expected


def test_the_start_may_be_set_before_iterating():
    sampler = StreamSampler(4)
    sampler.start_iteration = 10
    assert take(sampler, 5) == [40, 41, 42, 43, 44]
    assert take(sampler, 1) == [40]  # every iteration starts afresh


@pytest.mark.parametrize(("batch_size", "world_size"), [(3, 2), (0, 1)])
def test_a_batch_that_the_gpus_cannot_share_is_refused(batch_size, world_size):
    with pytest.raises(UserError, match=rf"^batch_size is \d: give .* processes, {world_size}"):
        StreamSampler(batch_size, world_size=world_size)


def echo_stream(seed, size=NUM_IMAGES):
    """A stream that yields the image's index and the first draw of its generator."""
    return TrainingStream(range(size), lambda index, rng: (index, rng.random()), seed)


def test_every_epoch_has_every_image_once_in_its_own_order():
    stream = echo_stream(seed=0)
    epochs = [[stream[e * NUM_IMAGES + i][0] for i in range(NUM_IMAGES)] for e in range(20)]
    assert all(sorted(epoch) == list(range(NUM_IMAGES)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 15


def test_a_position_gives_the_same_in_any_order_of_access():
    forwards = [echo_stream(seed=4)[position] for position in range(40)]
    stream = echo_stream(seed=4)
    assert [stream[position] for position in reversed(range(40))] == forwards[::-1]
    assert [echo_stream(seed=5)[position] for position in range(40)] != forwards
    assert len({draw for _, draw in forwards}) == 40  # each has its own augmentation


def test_order_and_augmentation_are_drawn_apart():
    stream = TrainingStream(range(99), lambda index, rng: (index, rng.permutation(99)), seed=0)
    order = [stream[position][0] for position in range(99)]
    assert order != stream[0][1].tolist()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_loader_goes_on_as_the_uninterrupted_one(cfg, num_workers):
    uninterrupted = fingerprints(take(build_train_loader(cfg), 12))  # more than three epochs
    cfg.DATALOADER.NUM_WORKERS = num_workers
    for start in (0, 1, 5):
        resumed = fingerprints(take(build_train_loader(cfg, start_iteration=start), 12 - start))
        assert resumed == uninterrupted[start:]


def test_batches_take_neighbouring_positions(cfg):
    ids = [sample["image_id"] for batch in take(build_train_loader(cfg), 7) for sample in batch]
    assert sorted(ids[:NUM_IMAGES]) == sorted(ids[NUM_IMAGES:]) == list(range(NUM_IMAGES))


def test_the_seed_changes_the_stream(cfg):
    first = fingerprints(take(build_train_loader(cfg), 4))
    cfg.SEED = 4
    assert fingerprints(take(build_train_loader(cfg), 4)) != first
    cfg.SEED = -1
    with pytest.raises(UserError, match=r"SEED is -1: use 0 or more"):
        build_train_loader(cfg)
    cfg.SEED, cfg.SOLVER.IMS_PER_BATCH = 0, 0
    with pytest.raises(UserError, match=r"SOLVER.IMS_PER_BATCH is 0: give .* number of GPUs, 1"):
        build_train_loader(cfg)


def test_global_random_state_has_no_influence(cfg):
    torch.manual_seed(0)
    np.random.seed(0)
    first = fingerprints(take(build_train_loader(cfg), 3))
    torch.manual_seed(1)
    np.random.seed(1)
    assert fingerprints(take(build_train_loader(cfg), 3)) == first


def test_images_without_nuclei_are_kept_or_left_out_as_configured(cfg):
    def image_ids():
        return {s["image_id"] for batch in take(build_train_loader(cfg), 8) for s in batch}

    assert image_ids() == set(range(NUM_IMAGES))
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    assert image_ids() == set(range(1, NUM_IMAGES))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_sees_every_image_once_in_order(cfg, num_workers):
    cfg.DATALOADER.NUM_WORKERS = num_workers
    batches = list(build_test_loader(cfg, "loader_train"))
    assert [[sample["image_id"] for sample in batch] for batch in batches] == [
        [i] for i in range(NUM_IMAGES)
    ]
    assert all("instances" not in batch[0] for batch in batches)
    assert all(batch[0]["image"].shape == (3, 48, 48) for batch in batches)


def test_datasets_that_give_nothing_are_refused(cfg):
    with pytest.raises(UserError, match=r"loader_empty cannot be loaded .* convert the dataset"):
        build_test_loader(cfg, "loader_empty")
    with pytest.raises(UserError, match=r"'nowhere': registered are .*loader_train"):
        build_test_loader(cfg, "nowhere")
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(UserError, match=r"DATASETS\.TRAIN is empty: name a registered dataset"):
        build_train_loader(cfg)
    cfg.DATASETS.TRAIN = ("loader_no_nuclei",)
    assert take(build_train_loader(cfg), 1)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    with pytest.raises(UserError, match=r"FILTER_EMPTY_ANNOTATIONS to False if no image"):
        build_train_loader(cfg)


def test_an_unreadable_image_stops_training_with_its_name(cfg, tmp_path):
    broken = make_dicts(tmp_path)
    for record in broken:
        (tmp_path / record["file_name"]).write_bytes(b"no image")
    DatasetCatalog.register("loader_broken", lambda: broken)
    try:
        cfg.DATASETS.TRAIN = ("loader_broken",)
        for cfg.DATALOADER.NUM_WORKERS in (0, 1):
            with pytest.raises(UserError, match=r"\.png cannot be read as an image"):
                take(build_train_loader(cfg), 1)
    finally:
        DatasetCatalog.remove("loader_broken")
