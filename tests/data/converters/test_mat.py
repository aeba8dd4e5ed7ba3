import numpy as np
import pytest
from small_release import write_mat

from cfrsam_d2.data.converters.mat import read_mat
from cfrsam_d2.errors import UserError

INST_MAP = np.array([[0, 4, 4], [9, 9, 9]], dtype=np.float64)


def read(tmp_path, **arrays):
    write_mat(tmp_path / "a.mat", **arrays)
    return read_mat(tmp_path / "a.mat")


def test_instances_alone(tmp_path):
    inst_map, types = read(tmp_path, inst_map=INST_MAP)
    assert inst_map.dtype == np.int64
    np.testing.assert_array_equal(inst_map, INST_MAP)
    assert types is None


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint16", "uint8"])
def test_whatever_matlab_s_type(tmp_path, dtype):
    inst_map, _ = read(tmp_path, inst_map=INST_MAP.astype(dtype))
    np.testing.assert_array_equal(inst_map, INST_MAP)


def test_the_most_frequent_type_of_a_nucleus_s_pixels(tmp_path):
    type_map = np.array([[5.0, 3, 3], [7, 2, 2]])
    _, types = read(tmp_path, inst_map=INST_MAP, type_map=type_map, inst_type=[[1.0], [1.0]])
    assert types == {4: 3, 9: 2}  # and not of inst_type, whose order is not written down


def test_types_in_the_order_of_the_ids(tmp_path):
    _, types = read(tmp_path, inst_map=INST_MAP, inst_type=[[6.0], [1.0]])
    assert types == {4: 6, 9: 1}


def test_types_in_the_order_that_the_file_says(tmp_path):
    _, types = read(
        tmp_path, inst_map=INST_MAP, inst_uid=[[9], [5], [4]], inst_type=[[6], [1], [2]]
    )
    assert types == {4: 2, 9: 6}


@pytest.mark.parametrize("labels", [{"type_map": np.zeros((2, 3))}, {"inst_type": []}])
def test_an_image_without_nuclei(tmp_path, labels):
    inst_map, types = read(tmp_path, inst_map=np.zeros((2, 3)), **labels)
    assert inst_map.sum() == 0
    assert types == {}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"instances": INST_MAP}, r"a\.mat has no `inst_map`: export the label map under this"),
        ({"inst_map": INST_MAP / 2}, r"`inst_map` has the value 4\.5: write whole numbers"),
        ({"inst_map": -INST_MAP}, r"`inst_map` has the value -4\.0: write whole numbers"),
        (
            {"inst_map": INST_MAP * np.nan},
            r"a\.mat: `inst_map` is not made of numbers: export it again",
        ),
        ({"inst_map": "text"}, r"`inst_map` is not made of numbers: export it again"),
        ({"inst_map": np.zeros((2, 3, 2))}, r"has the shape \(2, 3, 2\): export one \(H, W\) map"),
        ({"inst_map": np.zeros((0, 0))}, r"has the shape \(0, 0\): export one \(H, W\) map"),
        (
            {"inst_map": INST_MAP, "type_map": INST_MAP.T},
            r"`type_map` has the shape \(3, 2\), the map of instances \(2, 3\): "
            r"export both at the size",
        ),
        (
            {"inst_map": INST_MAP, "type_map": INST_MAP + 0.5},
            r"`type_map` has the value 0\.5: write whole numbers",
        ),
        (
            {"inst_map": INST_MAP, "inst_type": [1, 2, 3]},
            r"`inst_type` has 3 entries for 2 nuclei: export one type per nucleus, in the order",
        ),
        (
            {"inst_map": INST_MAP, "inst_uid": [4, 5], "inst_type": [1, 2]},
            r"`inst_uid` does not list the id 9 of `inst_map`: export one type per nucleus",
        ),
    ],
)
def test_contents_that_are_no_labels(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, **arrays)


def test_every_truncated_file_is_called_damaged(tmp_path):
    path = tmp_path / "a.mat"
    write_mat(path, inst_map=np.arange(100).reshape(10, 10))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.mat is damaged or no MATLAB file .*: download or"):
            read_mat(path)


def test_files_of_other_kinds(tmp_path):
    with pytest.raises(UserError, match=r"none\.mat does not exist: check the folder"):
        read_mat(tmp_path / "none.mat")
    path = tmp_path / "new.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(100))
    with pytest.raises(UserError, match=r"new\.mat is a MATLAB 7\.3 file: save it with save"):
        read_mat(path)
