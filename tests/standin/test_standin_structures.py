"""Boxes, masks, instances and padded images: the same on Detectron2 and on the stand-in."""

import copy
import pickle

import pytest
import torch
from detectron2.layers import batched_nms
from detectron2.structures import BitMasks, Boxes, BoxMode, ImageList, Instances


@pytest.fixture
def instances() -> Instances:
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:6] = True
    masks[2, 5, 7] = True
    return Instances(
        (6, 8),
        gt_classes=torch.tensor([4, 0, 2]),
        gt_masks=BitMasks(masks),
        gt_boxes=Boxes(torch.tensor([[2, 1, 6, 3], [0, 0, 0, 0], [7, 5, 8, 6]])),
        names=["a", "b", "c"],
    )


def test_length_without_fields_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="Empty Instances"):
        len(Instances((4, 4)))


def test_zero_length_fields_are_fine() -> None:
    empty = Instances((4, 4), scores=torch.zeros(0), gt_boxes=Boxes(torch.zeros(0)))
    assert len(empty) == 0
    assert empty.gt_boxes.tensor.shape == (0, 4)
    assert len(empty[empty.scores > 1]) == 0


def test_fields(instances: Instances) -> None:
    assert instances.image_size == (6, 8)
    assert len(instances) == 3
    assert instances.has("gt_masks")
    assert not instances.has("gt_points")
    assert list(instances.get_fields()) == ["gt_classes", "gt_masks", "gt_boxes", "names"]
    instances.gt_points = torch.zeros(3, 2)
    assert instances.get("gt_points") is instances.gt_points
    with pytest.raises(AttributeError, match="pred_boxes"):
        _ = instances.pred_boxes
    with pytest.raises(AssertionError):
        instances.scores = torch.zeros(2)


def test_indexing_takes_every_field(instances: Instances) -> None:
    instances.get_fields().pop("names")
    chosen = instances[instances.gt_classes > 0].to("cpu")
    assert chosen.gt_classes.tolist() == [4, 2]
    assert chosen.gt_masks.tensor.flatten(1).sum(1).tolist() == [8, 1]
    assert len(chosen.gt_boxes) == 2


def test_one_instance(instances: Instances) -> None:
    instances.get_fields().pop("names")
    assert instances[-1].gt_classes.tolist() == [2]
    assert instances[1:].gt_classes.tolist() == [0, 2]
    with pytest.raises(IndexError):
        instances[3]
    with pytest.raises(NotImplementedError):
        iter(instances)


class Lengths:
    """A field that is neither a tensor nor a list."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, item: slice) -> "Lengths":
        return Lengths(self.lengths[item])

    @staticmethod
    def cat(parts: list["Lengths"]) -> "Lengths":
        return Lengths(sum((part.lengths for part in parts), ()))


def test_instances_of_one_image_are_joined_field_by_field() -> None:
    instances = Instances(
        (6, 8), scores=torch.tensor([3, 1, 2]), names=["a", "b", "c"], lengths=Lengths((7, 8, 9))
    )
    joined = Instances.cat([instances[1:], instances[:0], instances[:1]])
    assert joined.image_size == (6, 8)
    assert list(joined.get_fields()) == ["scores", "names", "lengths"]
    assert joined.scores.tolist() == [1, 2, 3]
    assert joined.names == ["b", "c", "a"]
    assert joined.lengths.lengths == (8, 9, 7)
    assert len(Instances.cat([instances[:0], instances[:0]])) == 0
    assert Instances.cat([instances]).names == ["a", "b", "c"]


def test_instances_can_be_copied_and_sent(instances: Instances) -> None:
    for other in (copy.deepcopy(instances), pickle.loads(pickle.dumps(instances))):
        assert other.image_size == (6, 8)
        assert torch.equal(other.gt_masks.tensor, instances.gt_masks.tensor)
        assert other.names == ["a", "b", "c"]


def test_tight_boxes_of_masks(instances: Instances) -> None:
    boxes = instances.gt_masks.get_bounding_boxes()
    assert isinstance(boxes, Boxes)
    assert boxes.tensor.tolist() == [[2, 1, 6, 3], [0, 0, 0, 0], [7, 5, 8, 6]]


def test_masks_are_bool_and_full_frame() -> None:
    masks = BitMasks(torch.tensor([[[0, 2], [0, 0]]]))
    assert masks.tensor.dtype is torch.bool
    assert tuple(masks.image_size) == (2, 2)
    assert len(masks[0]) == 1
    assert [mask.sum().item() for mask in masks] == [1]
    with pytest.raises(AssertionError):
        BitMasks(torch.zeros(2, 2))
    with pytest.raises(AssertionError):
        _ = masks[0, 0]
    assert BitMasks(torch.zeros(0, 5, 5)).get_bounding_boxes().tensor.shape == (0, 4)


def test_boxes_are_float_rows() -> None:
    boxes = Boxes([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert boxes.tensor.dtype is torch.float32
    assert len(boxes[1]) == 1
    assert boxes[torch.tensor([False, True])].tensor.tolist() == [[4, 5, 6, 7]]
    assert [box.tolist() for box in boxes] == boxes.tensor.tolist()
    assert boxes.to("cpu").device == torch.device("cpu")
    with pytest.raises(AssertionError):
        Boxes(torch.zeros(3, 5))


def test_box_modes_are_numbers_in_json() -> None:
    assert (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS) == (0, 1)
    assert BoxMode(1) is BoxMode.XYWH_ABS


@pytest.mark.parametrize(("divisor", "size"), [(0, (5, 9)), (4, (8, 12)), (5, (5, 10))])
def test_images_are_padded_at_bottom_right(divisor: int, size: tuple[int, int]) -> None:
    images = [torch.rand(3, 5, 4), torch.rand(3, 2, 9)]
    batch = ImageList.from_tensors(images, divisor, pad_value=7.0)
    assert batch.tensor.shape == (2, 3, *size)
    assert [tuple(each) for each in batch.image_sizes] == [(5, 4), (2, 9)]
    assert len(batch) == 2
    assert batch.device == torch.device("cpu")
    for i, image in enumerate(images):
        assert torch.equal(batch[i], image)
    assert batch.tensor[1, :, 2:].eq(7).all()
    assert batch.tensor[0, :, :, 4:].eq(7).all()


def test_one_image_of_the_right_size_is_not_padded() -> None:
    image = torch.rand(3, 8, 8)
    assert torch.equal(ImageList.from_tensors([image], 4).tensor[0], image)


def test_nms_keeps_classes_apart() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9.5]], dtype=torch.float16)
    kept = batched_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), torch.tensor([0, 0, 1]), 0.5)
    assert kept.tolist() == [1, 2]
