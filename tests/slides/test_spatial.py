"""The SpatialData folder, read by SpatialData."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow as pa
import shapely
from slide_nuclei import CLASSES, NONE, chunks

from cfrsam_d2.slides.table import FEATURES

MPP = 0.5
TISSUE = [shapely.box(0, 0, 900, 500), shapely.box(1000, 0, 1800, 500)]
pytestmark = pytest.mark.filterwarnings("ignore")  # of its dependencies


@pytest.fixture(scope="module")
def spatialdata() -> ModuleType:
    """It takes seconds to import, and other processes of the suite do without it."""
    reason = "spatialdata is missing: pip install 'cfrsam_d2[spatial]'"
    return pytest.importorskip("spatialdata", reason=reason)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_nuclei_tissue_and_features(spatialdata: ModuleType, tmp_path: Path) -> None:
    from cfrsam_d2.slides.writers.spatial import write_spatial

    for name in ("first", "second"):
        write_spatial(iter(chunks()), tmp_path / name, tissue=TISSUE, mpp=MPP)
    first, second = (contents(tmp_path / name) for name in ("first", "second"))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]

    data, nuclei = spatialdata.read_zarr(tmp_path / "first"), pa.concat_tables(chunks())
    shapes, table = data.shapes["nuclei"], data.tables["features"]
    assert shapely.equals(shapes.geometry.to_numpy(), shapely.from_wkb(nuclei["geometry"])).all()
    assert shapes.index.tolist() == table.obs["id"].tolist() == nuclei["id"].to_pylist()
    assert shapely.equals(data.shapes["tissue"].geometry.to_numpy(), TISSUE).all()
    assert list(table.var_names) == list(FEATURES)
    np.testing.assert_array_equal(table.X[:, 0], nuclei["area_um2"])
    assert table.obs["class"].tolist() == nuclei["class"].to_pylist()
    assert list(table.obs["class"].cat.categories) == CLASSES
    np.testing.assert_array_equal(table.obsm["spatial"][:, 1], nuclei["y"])
    for each in data.shapes.values():
        scale = spatialdata.transformations.get_transformation(each, "um").to_affine_matrix(
            ("x", "y"), ("x", "y")
        )
        np.testing.assert_array_equal(scale, np.diag([MPP, MPP, 1]))
    joined = spatialdata.join_spatialelement_table(
        sdata=data, spatial_element_names="nuclei", table_name="features", how="inner"
    )
    assert len(joined[0]["nuclei"]) == len(nuclei)


def test_no_nuclei_and_no_tissue(spatialdata: ModuleType, tmp_path: Path) -> None:
    from cfrsam_d2.slides.writers.spatial import write_spatial

    write_spatial(NONE, tmp_path / "nuclei.zarr", tissue=[], mpp=MPP)
    data = spatialdata.read_zarr(tmp_path / "nuclei.zarr")
    assert len(data.shapes) == 0
    assert data.tables["features"].shape == (0, len(FEATURES))
