from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data import pictures
from tests.data.pictures import SIZE, arrays, encoded, errors, looked_at, pixels, plan, site
from wardround.data.load import inspect, prepare
from wardround.data.site_file import load_site
from wardround.data.snapshot import read_snapshot
from wardround.study.errors import DataError, ProtocolError
from wardround.study.protocol import Protocol

HANNOVER = """\
name = "hannover"
[source]
kind = "images"
path = "{path}"
manifest = "data.csv"
prefix = "png/"
suffix = ".png"
[map]
patient = "patient_id"
film = {{ column = "image_id", resize = "pad", channels = "convert" }}
ill = {{ column = "projection", codes = {{ ap = "0", pa = "1" }} }}
"""
MNIST = """\
name = "guangzhou"
[source]
kind = "images"
path = "{path}/pneumoniamnist.npz"
parts = ["train", "val", "test"]
[map]
film = "images"
ill = "labels"
[split]
column = "part"
train = ["train"]
validation = ["val"]
test = ["test"]
"""


def test_real_radiographs_are_read_from_a_folder(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(HANNOVER.format(path=shared_data("cxr_hannover")))
    prepared = prepare(load_site(tmp_path / "site.toml"), plan(1, 64, 64), tmp_path / "snapshots")
    film = prepared.dataset.columns["film"]
    assert (film.shape, prepared.dataset.patients) == ((57, 1, 64, 64), 20)
    assert film.dtype == np.uint8
    assert np.array_equal(read_snapshot(prepared.folder).columns["film"], film)
    assert 80 < film.mean() < 140
    unasked = HANNOVER.replace(', resize = "pad"', "").format(path=shared_data("cxr_hannover"))
    (tmp_path / "site.toml").write_text(unasked)
    (wrong,) = errors(inspect(load_site(tmp_path / "site.toml"), plan(1, 64, 64)))
    assert "57 images are not of the contract's size, 64 x 64" in wrong
    assert "such as rows 1, 2 and 3" in wrong


def test_a_published_array_file_is_read_with_its_parts(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shared_data("pneumoniamnist")
    (tmp_path / "site.toml").write_text(MNIST.format(path=folder))
    checked = inspect(load_site(tmp_path / "site.toml"), plan(1, 28, 28, patient=None))
    assert checked.report.patients == {"train": 4708, "validation": 524, "test": 624}
    assert checked.dataset is not None
    columns = checked.dataset.columns
    with np.load(folder / "pneumoniamnist.npz") as file:
        assert np.array_equal(columns["film"][:, 0], np.concatenate([file[f"{part}_images"] for part in ("train", "val", "test")]))
        assert np.array_equal(columns["ill"], np.concatenate([file[f"{part}_labels"][:, 0] for part in ("train", "val", "test")]))
    assert any("18 images are copies that stand in two parts" in str(one) for one in checked.report.findings)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(pixels(3)), pixels(3)),
        (encoded(np.stack([pixels(3)] * 3, axis=-1)), pixels(3)),
        (encoded(np.dstack([pixels(3), np.full((SIZE, SIZE), 255, np.uint8)])), pixels(3)),
        (encoded(np.stack([pixels(3)] * 3, axis=-1), mode="P"), None),
    ],
    ids=["grey", "colour without colour", "alpha that hides nothing", "palette"],
)
def test_what_loses_nothing_is_read_as_grey(tmp_path: Path, data: bytes, expected: np.ndarray | None) -> None:
    checked = looked_at(site(tmp_path, {"a.png": data, "b.png": encoded(pixels(4))}, film=', channels = "convert"'))
    assert checked.dataset is not None, checked.report
    if expected is not None:
        assert np.array_equal(checked.dataset.columns["film"][0, 0], expected)


def test_sixteen_bits_and_jpeg_are_read(tmp_path: Path) -> None:
    deep = [pixels(seed, 65_535) for seed in range(3)]
    checked = looked_at(site(tmp_path, {f"{one}.png": encoded(array) for one, array in enumerate(deep)}), plan(intensity=(0, 65_535)))
    assert checked.dataset is not None, checked.report
    assert checked.dataset.columns["film"].dtype == np.uint16
    assert np.array_equal(checked.dataset.columns["film"][:, 0], deep)
    smooth = np.tile(np.linspace(0, 255, SIZE).astype(np.uint8), (SIZE, 1))
    jpeg = looked_at(site(tmp_path, {"a.jpg": encoded(smooth, "JPEG"), "b.jpg": encoded(255 - smooth, "JPEG")}))
    assert jpeg.dataset is not None, jpeg.report
    assert np.abs(jpeg.dataset.columns["film"][0, 0].astype(int) - smooth).max() < 12


def test_colour_is_read_channels_first(tmp_path: Path) -> None:
    colour = pixels(5, size=(SIZE, SIZE, 3))
    checked = looked_at(site(tmp_path, {"a.png": encoded(colour), "b.png": encoded(colour[::-1])}), plan(3, SIZE, SIZE))
    assert checked.dataset is not None, checked.report
    assert np.array_equal(checked.dataset.columns["film"][0], np.moveaxis(colour, -1, 0))


def test_names_take_a_folder_a_prefix_a_suffix_and_windows_signs(tmp_path: Path) -> None:
    files = {"png/a.png": encoded(pixels(1)), "png/b.png": encoded(pixels(2))}
    columns: dict[str, list[object]] = {"file": ["a", "b"], "patient": [1, 2], "ill": [0, 1]}
    one = site(tmp_path, files, columns)
    text = (tmp_path / "site.toml").read_text().replace('path = "films"', 'path = "films"\nprefix = "png/"\nsuffix = ".png"')
    (tmp_path / "site.toml").write_text(text)
    assert looked_at(load_site(tmp_path / "site.toml")).dataset is not None
    assert looked_at(one).dataset is None
    assert looked_at(site(tmp_path, files, {**columns, "file": ["png\\a.png", "png\\b.png"]})).dataset is not None


def test_nothing_outside_the_folder_is_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(pixels(1)))
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "link.png").symlink_to(tmp_path / "secret.png")
    files = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "good.png"]
    one = site(tmp_path, {"good.png": encoded(pixels(2))}, {"file": files, "patient": range(4), "ill": [0, 1, 0, 1]})
    (wrong,) = errors(looked_at(one))
    assert "<10 images lie outside the folder (such as rows 1, 2 and 3)" in wrong
    assert "secret" not in str(looked_at(one).report)


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    one = site(tmp_path, {"a.png": encoded(pixels(1))})
    (tmp_path / "films" / "manifest.csv").unlink()
    with pytest.raises(DataError, match="there is no manifest"):
        looked_at(one)
    text = (tmp_path / "site.toml").read_text()
    for path, what in (("nowhere", "no such folder"), ("nowhere.npz", "no such file"), ("site.toml", "no folder and no .npz")):
        (tmp_path / "site.toml").write_text(text.replace('"films"', f'"{path}"'))
        with pytest.raises(DataError, match=what):
            looked_at(load_site(tmp_path / "site.toml"))
    (tmp_path / "site.toml").write_text(text.replace('"films"', '"films"\nencoding = "no such"'))
    with pytest.raises(ProtocolError, match="encoding"):
        load_site(tmp_path / "site.toml")


@pytest.mark.parametrize(("shape", "row"), [((1, 40), (40,)), ((2, 40), (2, 40)), ((1, 5, 6, 7), (5, 6, 7)), ((3, 8, 8), (8, 8, 3))])
def test_signals_volumes_and_channels_come_from_array_files(tmp_path: Path, shape: tuple[int, ...], row: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, *row)).astype(np.uint8)
    checked = looked_at(arrays(tmp_path, images=images, labels=np.arange(6) % 2), plan(*shape, patient=None))
    assert checked.dataset is not None, checked.report
    found = checked.dataset.columns["film"]
    assert found.shape == (6, *shape)
    assert np.array_equal(found, np.moveaxis(images, -1, 1) if row == (8, 8, 3) else images.reshape(found.shape))


def test_columns_of_texts_and_of_several_labels_are_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE)).astype(np.uint8)
    one = arrays(tmp_path, "", 'patient = "who"', images=images, labels=np.arange(4)[:, None] % 2, who=np.array(["a", "a", "b", "c"]))
    checked = looked_at(one)
    assert checked.dataset is not None, checked.report
    assert checked.dataset.patients == 3
    several = arrays(
        tmp_path, "", 'patient = "who"', images=images, labels=np.eye(4)[:, :2].astype(int), who=np.array([b"a", b"a", b"b", b"c"])
    )
    frame = inspect(several, plan())
    assert errors(frame, "ill")
    text = (tmp_path / "site.toml").read_text().replace('"labels"', '"labels.1"')
    (tmp_path / "site.toml").write_text(text)
    second = looked_at(load_site(tmp_path / "site.toml"))
    assert second.dataset is not None, second.report
    assert second.dataset.columns["ill"].tolist() == [0, 1, 0, 0]


def test_labels_and_images_of_different_counts_are_refused(tmp_path: Path) -> None:
    one = arrays(tmp_path, images=np.zeros((4, SIZE, SIZE), np.uint8), labels=np.zeros(5, int))
    with pytest.raises(DataError, match="different numbers of rows"):
        looked_at(one)
    named = {
        "train_images": np.zeros((4, SIZE, SIZE)),
        "train_labels": np.zeros(4),
        "test_images": np.zeros((2, 3)),
        "test_labels": np.zeros(2),
    }
    with pytest.raises(DataError) as refused:
        looked_at(arrays(tmp_path, named=named))
    assert "parts = " in refused.value.remedy
    with pytest.raises(DataError, match="no array 'val_images'"):
        looked_at(arrays(tmp_path, 'parts = ["train", "val"]', named=named))


def test_an_array_file_that_is_cut_off_holds_objects_or_lies_the_other_way_is_refused(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 60, 60)).astype(np.uint8), np.arange(40) % 2
    protocol = plan(1, 60, 60, patient=None)
    one = arrays(tmp_path, images=images, labels=labels)
    data = (tmp_path / "films.npz").read_bytes()
    (tmp_path / "films.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="no readable"):
        looked_at(one, protocol)
    (tmp_path / "films.npz").write_bytes(data[:100_000] + bytes(50) + data[100_050:])
    assert any("cannot be read to its end" in one for one in errors(looked_at(one, protocol)))
    with pytest.raises(DataError, match="Python objects"):
        looked_at(arrays(tmp_path, images=images, labels=np.array([None] * 40)))
    turned = arrays(tmp_path, images=np.asfortranarray(images), labels=labels)
    assert any("do not lie one after the other" in one for one in errors(looked_at(turned, protocol)))


def test_a_column_that_holds_no_images_is_refused(tmp_path: Path) -> None:
    arrays(tmp_path, images=np.zeros((4, SIZE, SIZE), np.uint8), labels=np.arange(4) % 2)
    (tmp_path / "site.toml").write_text((tmp_path / "site.toml").read_text().replace('film = "images"', 'film = "labels"'))
    (wrong,) = errors(looked_at(load_site(tmp_path / "site.toml"), plan(patient=None)))
    assert "no array of images" in wrong
    table = tmp_path / "site.toml"
    pictures.site(tmp_path, {"a.png": encoded(pixels(1))})
    table.write_text('name = "north"\n[source]\nkind = "table"\npath = "films/manifest.csv"\n[map]\nfilm = "file"\n')
    (wrong,) = errors(looked_at(load_site(table)))
    assert 'kind = "images"' in wrong


def test_a_volume_in_a_picture_file_is_refused(tmp_path: Path) -> None:
    protocol: Protocol = plan(1, 4, SIZE, SIZE)
    (wrong,) = errors(looked_at(site(tmp_path, {"a.png": encoded(pixels(1))}), protocol))
    assert ".npz" in wrong
