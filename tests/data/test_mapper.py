import copy

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.structures import BoxMode
from PIL import Image

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.data.augmentation import build_augmentation, compose
from cfrsam_d2.data.mapper import NucleusMapper
from cfrsam_d2.data.points import mask_point
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import encode_mask


def dataset_dict(folder, masks, size, image=None):
    """A dataset dict whose k-th nucleus is of class k, and its PNG."""
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    path = str(folder / "tile.png")
    Image.fromarray(image).save(path)
    annotations = [
        {
            "bbox": list(cv2.boundingRect(mask.astype(np.uint8))),
            "bbox_mode": BoxMode.XYWH_ABS,
            "segmentation": encode_mask(BoxMask.of_frame(mask), *mask.shape),
            "category_id": k,
            "point": list(mask_point(BoxMask.of_frame(mask))),
            "iscrowd": 0,
        }
        for k, mask in enumerate(masks)
    ]
    return {
        "file_name": path,
        "image_id": 7,
        "height": size[0],
        "width": size[1],
        "tissue": "Colon",
        "magnification": 40,
        "annotations": annotations,
    }


def box_mask(size, top, left, height, width):
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def disc_masks(size, number, seed=0):
    """Discs of radius 4 to 9 px that may overlap and leave the image."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(number):
        canvas = np.zeros(size, dtype=np.uint8)
        center = int(rng.integers(size[1])), int(rng.integers(size[0]))
        cv2.circle(canvas, center, int(rng.integers(4, 10)), 1, -1)
        masks.append(canvas.astype(bool))
    return masks


def plain_mapper():
    return NucleusMapper(augmentation=build_augmentation("none", 0))


def assert_equal_outputs(first, second):
    assert torch.equal(first["image"], second["image"])
    fields, others = first["instances"].get_fields(), second["instances"].get_fields()
    for name in ("gt_boxes", "gt_masks"):
        assert torch.equal(fields[name].tensor, others[name].tensor)
    assert torch.equal(fields["gt_classes"], others["gt_classes"])
    np.testing.assert_array_equal(fields["gt_points"], others["gt_points"])  # NaN equals NaN


def assert_consistent(output):
    """Boxes are in the masks, points lie on these, nothing is empty, all lists are as long."""
    instances, size = output["instances"], output["image"].shape[1:]
    assert instances.image_size == tuple(size)
    masks = instances.gt_masks.tensor
    assert masks.dtype == torch.bool
    assert masks.shape == (len(instances), *size)
    assert masks.flatten(1).any(dim=1).all()
    whole, boxes = instances.gt_masks.get_bounding_boxes().tensor, instances.gt_boxes.tensor
    assert (boxes[:, :2] >= whole[:, :2]).all()
    assert (boxes[:, 2:] <= whole[:, 2:]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert instances.gt_classes.dtype == torch.int64
    assert instances.gt_points.dtype == torch.float32
    assert instances.gt_points.shape == (len(instances), 2)
    for mask, point in zip(masks, instances.gt_points, strict=True):
        if not point.isnan().any():  # nearest neighbours of masks are off by a pixel or less
            nearest = (mask.nonzero().flip(1) - point).norm(dim=1).min()
            assert nearest < 1.5


def test_evaluation_gives_the_file_and_no_annotations(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    record = dataset_dict(tmp_path, [box_mask((20, 30), 2, 2, 4, 4)], (20, 30), image)
    output = NucleusMapper(augmentation=None)(record)
    assert set(output) == set(record) - {"annotations"} | {"image"}
    assert output["image"].dtype == torch.uint8
    np.testing.assert_array_equal(output["image"].permute(1, 2, 0).numpy(), image)
    assert (output["height"], output["width"], output["image_id"]) == (20, 30, 7)


def test_training_without_augmentation_gives_the_annotations(tmp_path):
    size = (40, 60)
    overlapping = [box_mask(size, 5, 10, 8, 6), box_mask(size, 9, 12, 11, 11)]
    record = dataset_dict(tmp_path, overlapping, size)
    output = plain_mapper()(record)
    assert_consistent(output)
    instances = output["instances"]
    np.testing.assert_array_equal(instances.gt_masks.tensor.numpy(), overlapping)
    assert instances.gt_classes.tolist() == [0, 1]
    assert instances.gt_boxes.tensor.tolist() == [[10, 5, 16, 13], [12, 9, 23, 20]]
    assert instances.gt_points.tolist() == [[12.5, 8.5], [17.0, 14.0]]
    assert "annotations" not in output
    assert output["tissue"] == "Colon"


def test_the_dict_of_the_caller_stays_as_it_was(tmp_path):
    record = dataset_dict(tmp_path, disc_masks((64, 64), 5), (64, 64))
    before = copy.deepcopy(record)
    NucleusMapper(augmentation=build_augmentation("sam", 32))(record, np.random.default_rng(0))
    assert record == before


def test_an_image_without_nuclei_has_fields_of_length_zero(tmp_path):
    record = dataset_dict(tmp_path, [], (64, 64))
    for name in ("none", "prompt_learner", "sam"):
        mapper = NucleusMapper(augmentation=build_augmentation(name, 48))
        for seed in range(5):
            output = mapper(record, np.random.default_rng(seed))
            assert_consistent(output)
            assert len(output["instances"]) == 0


def test_more_than_255_nuclei_keep_their_classes(tmp_path):
    size = (96, 96)
    masks = [box_mask(size, 4 * (i // 24), 4 * (i % 24), 3, 3) for i in range(576)]
    output = plain_mapper()(dataset_dict(tmp_path, masks, size))
    assert output["instances"].gt_classes.tolist() == list(range(576))
    np.testing.assert_array_equal(output["instances"].gt_masks.tensor.numpy(), masks)


def test_crowd_regions_are_no_nuclei(tmp_path):
    record = dataset_dict(tmp_path, disc_masks((64, 64), 3), (64, 64))
    record["annotations"][1]["iscrowd"] = 1
    assert plain_mapper()(record)["instances"].gt_classes.tolist() == [0, 2]


def test_a_nucleus_cropped_away_leaves_all_lists(tmp_path):
    size = (64, 64)
    masks = [box_mask(size, 1, 1, 5, 5), box_mask(size, 40, 40, 8, 8)]
    mapper = NucleusMapper(augmentation=compose([A.Crop(32, 44, 64, 64)]))
    output = mapper(dataset_dict(tmp_path, masks, size))
    assert_consistent(output)
    assert output["image"].shape == (3, 20, 32)
    assert output["instances"].gt_classes.tolist() == [1]
    assert output["instances"].gt_boxes.tensor.tolist() == [[8, 0, 16, 4]]


def test_a_point_that_leaves_the_image_is_dropped_and_the_pixels_stay(tmp_path):
    """No new point for what is left of a nucleus; whatever comes after, the old one stays lost."""
    size = (64, 64)
    masks = [box_mask(size, 40, 40, 8, 8), box_mask(size, 46, 50, 8, 8)]  # points in row 43.5, 49.5
    record = dataset_dict(tmp_path, masks, size)
    back = A.Affine(translate_px={"x": 0, "y": 10}, p=1)
    mapper = NucleusMapper(augmentation=compose([A.Crop(32, 44, 64, 64), back]))
    instances = mapper(record)["instances"]
    assert instances.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [32, 64]
    assert instances.gt_points[0].isnan().all()
    assert instances.gt_points[1].tolist() == [21.5, 15.5]
    assert instances.gt_boxes.tensor.tolist() == [[8, 10, 16, 14], [18, 12, 26, 20]]


def test_points_are_the_annotations_not_those_of_masks(tmp_path):
    size = (20, 30)
    record = dataset_dict(tmp_path, [box_mask(size, 2, 3, 5, 7)], size)
    for given, expected in [
        ([4.0, 3.0], [25, 3]),
        ([-0.25, 19.25], [29, 19]),  # of the pixel in the corner
        ([-1.0, 3.0], None),
        ([4.0, 19.75], None),
    ]:
        record["annotations"][0]["point"] = given
        mapper = NucleusMapper(augmentation=compose([A.HorizontalFlip(p=1)]))
        (point,) = mapper(record)["instances"].gt_points
        assert point.isnan().all() if expected is None else point.tolist() == expected


def test_points_and_boxes_turn_with_the_image(tmp_path):
    size = (20, 30)
    record = dataset_dict(tmp_path, [box_mask(size, 2, 3, 5, 7)], size)
    mapper = NucleusMapper(augmentation=compose([A.HorizontalFlip(p=1), A.Transpose(p=1)]))
    output = mapper(record)
    assert output["image"].shape == (3, 30, 20)
    # x from 3..9 to 20..26 by the flip, then x and y change places.
    assert output["instances"].gt_boxes.tensor.tolist() == [[2, 20, 7, 27]]
    assert output["instances"].gt_points.tolist() == [[4.0, 23.0]]


@pytest.mark.parametrize("name", ["prompt_learner", "sam"])
def test_classes_stay_with_their_nuclei(tmp_path, name):
    # The red channel names the nucleus; steps that recolour are left out.
    size = (128, 128)
    masks = [box_mask(size, 16 * (k // 8) + 2, 16 * (k % 8) + 3, 11, 9) for k in range(64)]
    image = np.zeros((*size, 3), dtype=np.uint8)
    for k, mask in enumerate(masks):
        image[mask, 0] = k + 1
    steps = [s for s in build_augmentation(name, 96) if isinstance(s, A.DualTransform)]
    mapper = NucleusMapper(augmentation=compose(steps))
    record = dataset_dict(tmp_path, masks, size, image)
    for seed in range(10):
        output = mapper(record, np.random.default_rng(seed))
        assert_consistent(output)
        instances = output["instances"]
        assert len(instances) > 10
        for mask, label in zip(instances.gt_masks.tensor, instances.gt_classes, strict=True):
            if mask.sum() > 40:  # the rim of small pieces is blended with what is beside it
                assert output["image"][0][mask].mode().values == label + 1


@pytest.mark.parametrize("name", ["prompt_learner", "sam"])
def test_overlapping_nuclei_are_consistent_under_every_augmentation(tmp_path, name):
    record = dataset_dict(tmp_path, disc_masks((100, 128), 40), (100, 128))
    mapper = NucleusMapper(augmentation=build_augmentation(name, 64))
    for seed in range(30):
        output = mapper(record, np.random.default_rng(seed))
        assert_consistent(output)
        assert output["image"].shape == (3, 64, 64)


def test_a_nucleus_that_shuffling_cuts_keeps_its_pixels_and_its_one_point(tmp_path):
    """One nucleus lies in a cell of 16×16 px, the other on x = 48, its point left of that."""
    size = (64, 64)
    masks = [box_mask(size, 4, 4, 6, 6), box_mask(size, 20, 38, 6, 16)]
    record = dataset_dict(tmp_path, masks, size)
    mapper = NucleusMapper(augmentation=compose([A.RandomGridShuffle(grid=(4, 4), p=1)]))
    widths = set()
    for seed in range(10):
        output = mapper(record, np.random.default_rng(seed))
        assert_consistent(output)
        instances = output["instances"]
        assert instances.gt_classes.tolist() == [0, 1]
        assert instances.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [36, 96]
        assert (instances.gt_points % 16).tolist() == [[6.5, 6.5], [13.5, 6.5]]
        widths.add(int(instances.gt_boxes.tensor[1, 2] - instances.gt_boxes.tensor[1, 0]))
    assert 10 in widths  # of the piece with the point, whatever lies beside it


@pytest.mark.parametrize("name", ["none", "prompt_learner", "sam"])
def test_equal_generators_give_equal_results_whatever_came_before(tmp_path, name):
    record = dataset_dict(tmp_path, disc_masks((100, 100), 20), (100, 100))
    mapper = NucleusMapper(augmentation=build_augmentation(name, 64))
    outputs = [mapper(record, np.random.default_rng([5, k])) for k in range(6)]
    again = NucleusMapper(augmentation=build_augmentation(name, 64))
    for k in reversed(range(6)):
        assert_equal_outputs(outputs[k], again(record, np.random.default_rng([5, k])))
    assert not all(torch.equal(outputs[0]["image"], other["image"]) for other in outputs[1:])


def test_images_and_nuclei_are_rescaled_before_the_augmentation(tmp_path):
    size = (40, 60)
    masks = [box_mask(size, 5, 10, 8, 6), box_mask(size, 9, 12, 11, 11)]
    record = {**dataset_dict(tmp_path, masks, size), "magnification": 20}
    mapper = NucleusMapper(augmentation=build_augmentation("none", 0), magnification=40)
    output = mapper(record)
    assert_consistent(output)
    assert output["image"].shape == (3, 80, 120)
    assert (output["height"], output["width"]) == size
    instances = output["instances"]
    np.testing.assert_array_equal(
        instances.gt_masks.tensor.numpy(), np.array(masks).repeat(2, axis=1).repeat(2, axis=2)
    )
    assert instances.gt_boxes.tensor.tolist() == [[20, 10, 32, 26], [24, 18, 46, 40]]
    assert instances.gt_points.tolist() == [[25.5, 17.5], [34.5, 28.5]]
    evaluated = NucleusMapper(augmentation=None, magnification=40)(record)
    assert torch.equal(evaluated["image"], output["image"])
    assert (evaluated["height"], evaluated["width"]) == size
    cropped = NucleusMapper(augmentation=build_augmentation("sam", 64), magnification=40)(record)
    assert_consistent(cropped)
    assert cropped["image"].shape == (3, 64, 64)


def test_a_nucleus_that_vanishes_leaves_all_lists(tmp_path):
    size = (40, 40)
    masks = [box_mask(size, 8, 8, 1, 1), box_mask(size, 16, 16, 12, 12), box_mask(size, 0, 3, 2, 1)]
    record = dataset_dict(tmp_path, masks, size)  # at 40
    mapper = NucleusMapper(augmentation=build_augmentation("none", 0), magnification=10)
    output = mapper(record)
    assert_consistent(output)
    assert output["instances"].gt_classes.tolist() == [1]
    assert output["instances"].gt_boxes.tensor.tolist() == [[4, 4, 7, 7]]


@pytest.mark.parametrize("name", ["none", "prompt_learner", "sam"])
def test_at_their_own_magnification_images_stay_bit_for_bit(tmp_path, name):
    record = dataset_dict(tmp_path, disc_masks((100, 100), 20), (100, 100))
    plain = NucleusMapper(augmentation=build_augmentation(name, 64))
    same = NucleusMapper(augmentation=build_augmentation(name, 64), magnification=40)
    for k in range(3):
        outputs = [mapper(record, np.random.default_rng(k)) for mapper in (plain, same)]
        assert_equal_outputs(*outputs)
    del record["magnification"]  # it is 40 then
    assert_equal_outputs(outputs[0], same(record, np.random.default_rng(k)))


def test_steps_decide_independently_of_each_other(tmp_path):
    # One seed for all steps would flip in both directions or in none.
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[0, 0] = 255
    record = dataset_dict(tmp_path, [], (2, 2), image)
    mapper = NucleusMapper(augmentation=compose([A.HorizontalFlip(), A.VerticalFlip()]))
    corners = [
        int(mapper(record, np.random.default_rng(seed))["image"][0].argmax()) for seed in range(200)
    ]
    assert min(np.bincount(corners, minlength=4)) > 25  # 50 expected of each


def test_without_a_generator_results_differ(tmp_path):
    record = dataset_dict(tmp_path, [], (64, 64))
    mapper = NucleusMapper(augmentation=build_augmentation("none", 16))
    assert len({mapper(record)["image"].numpy().tobytes() for _ in range(10)}) > 1


def test_an_image_of_another_size_is_refused(tmp_path):
    record = dataset_dict(tmp_path, [], (20, 30))
    record["width"] = 31
    for mapper in (plain_mapper(), NucleusMapper(augmentation=None)):
        with pytest.raises(UserError, match=r"tile\.png has 30×20 px but .* says 31×20: put back"):
            mapper(record)


def test_a_mask_of_another_size_is_refused(tmp_path):
    record = dataset_dict(tmp_path, [np.ones((20, 31), dtype=bool)], (20, 30))
    with pytest.raises(UserError, match=r"mask 0 of .*tile\.png .*\[20, 31\].* convert .* again"):
        plain_mapper()(record)


def test_a_missing_image_is_named(tmp_path):
    record = dataset_dict(tmp_path, [], (20, 30))
    record["file_name"] = str(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"gone\.png does not exist"):
        plain_mapper()(record)


def test_the_configuration_chooses_the_augmentation():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.INPUT.AUGMENTATION, cfg.INPUT.TRAIN_CROP_SIZE = "sam", 64
    assert len(NucleusMapper(cfg, is_train=True).augmentation) == 12
    assert NucleusMapper(cfg, is_train=False).augmentation is None
    cfg.INPUT.MAGNIFICATION = 20
    for is_train in (True, False):
        assert NucleusMapper(cfg, is_train=is_train).magnification == 20
    cfg.INPUT.AUGMENTATION = "strong"
    with pytest.raises(UserError, match=r"INPUT\.AUGMENTATION is 'strong': choose one of"):
        NucleusMapper(cfg, is_train=True)


def test_prompts_move_with_the_image_to_their_nuclei(tmp_path):
    """Turned over, points and boxes stay where they are in the tissue; cut off, they are gone,
    together if only a corner of the box is."""
    size = (40, 60)
    masks = [box_mask(size, 4, 10, 8, 8), box_mask(size, 24, 40, 10, 12)]
    record = dataset_dict(tmp_path, masks, size)
    flip = NucleusMapper(augmentation=compose([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]))
    crop = NucleusMapper(augmentation=compose([A.Crop(0, 0, 46, 40)]))
    lost = [float("nan")] * 2
    for prompts, flipped, cropped in [
        (
            [(47.5, 30.25), (14.0, 6.0)],
            [(45.0, 33.0), (11.5, 8.75)],
            [(14.0, 6.0), lost],
        ),
        (
            [(38.0, 22.0, 54.0, 36.0), (8.0, 4.0, 19.0, 11.0)],
            [(40.0, 28.0, 51.0, 35.0), (5.0, 3.0, 21.0, 17.0)],
            [(8.0, 4.0, 19.0, 11.0), lost * 2],
        ),
        (
            [(45.0, 30.25, 38.0, 22.0, 54.0, 36.0), (14.0, 6.0, 8.0, 4.0, 19.0, 11.0)],
            [(45.0, 33.0, 40.0, 28.0, 51.0, 35.0), (14.0, 8.75, 5.0, 3.0, 21.0, 17.0)],
            [(14.0, 6.0, 8.0, 4.0, 19.0, 11.0), lost * 3],
        ),
    ]:
        record["prompts"] = np.array(prompts, dtype=np.float32)
        for mapper, expected in ((flip, flipped), (crop, cropped)):
            output = mapper(record)
            assert "prompts" not in output
            instances = output["instances"]
            assert len(instances) == 2
            assert instances.proposal_prompts.dtype == torch.float32
            np.testing.assert_allclose(instances.proposal_prompts, expected, rtol=0, atol=1e-4)
        without_nuclei = plain_mapper()(record | {"annotations": []})["instances"]
        assert without_nuclei.proposal_prompts.shape == (0, len(prompts[0]))
    del record["prompts"]
    assert not flip(record)["instances"].has("proposal_prompts")


def test_without_prompts_an_image_has_none_for_its_nuclei(tmp_path):
    size = (40, 60)
    record = dataset_dict(tmp_path, [box_mask(size, 4, 10, 8, 8)], size)
    for width in (2, 4, 6):
        record["prompts"] = np.empty((0, width), dtype=np.float32)
        prompts = plain_mapper()(record)["instances"].proposal_prompts
        assert prompts.shape == (1, width)
        assert prompts.isnan().all()
