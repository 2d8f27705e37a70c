from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.pictures import SIZE, arrays, encoded, errors, looked_at, pixels, plan, png_header, site, warnings
from wardround.data.images import Place
from wardround.data.load import inspect, prepare, read
from wardround.data.site_file import load_site
from wardround.study.errors import DataError
from wardround.study.streams import Stream

GOOD = [encoded(pixels(seed)) for seed in range(6)]
FAULTS: dict[str, tuple[bytes, str]] = {
    "cut off": (GOOD[0][:200], "are damaged or cut off"),
    "cut off JPEG": (encoded(pixels(1, size=(60, 60)), "JPEG")[:900], "are damaged or cut off"),
    "empty": (b"", "are no PNG or JPEG"),
    "text": (b"Name: Doe, Jane", "are no PNG or JPEG"),
    "bitmap": (encoded(pixels(1), "BMP"), "are no PNG or JPEG"),
    "bomb": (png_header(60_000, 60_000), "claim more than 100 million pixels"),
    "large": (png_header(12_000, 12_000), "claim more than 100 million pixels"),
    "deep colour": (png_header(SIZE, SIZE, 16, 2), "in colour with 16 bits"),
    "transparent": (encoded(np.dstack([pixels(1), pixels(2)])), "are partly transparent"),
    "size": (encoded(pixels(1, size=(SIZE, SIZE + 1))), "are not of the contract's size, 20 x 20"),
    "colour": (encoded(pixels(1, size=(SIZE, SIZE, 3))), "have 3 channels, where the contract has 1"),
    "16 bits": (encoded(pixels(1, 65_535)), "hold 16-bit values, up to more than 255"),
}


@pytest.mark.parametrize(("data", "words"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named_with_count_rows_and_remedy_and_without_its_file(tmp_path: Path, data: bytes, words: str) -> None:
    files = {f"jane-doe-{number}.png": one for number, one in enumerate([GOOD[0], data, GOOD[1], data, GOOD[2]])}
    checked = looked_at(site(tmp_path, files))
    assert checked.dataset is None
    (wrong,) = (one for one in checked.report.errors if one.field == "film")
    assert words in wrong.sentence
    assert (wrong.count, "such as rows 2 and 4" in wrong.sentence) == (2, True)
    assert wrong.remedy
    assert "jane" not in str(checked.report)


def test_a_missing_and_an_unnamed_file_are_told_apart(tmp_path: Path) -> None:
    columns = {"file": ["a.png", "gone.png", "", "NA", "b.png"], "patient": range(5), "ill": [0, 1, 0, 1, 0]}
    found = errors(looked_at(site(tmp_path, {"a.png": GOOD[0], "b.png": GOOD[1]}, columns)))
    assert any("<10 images are not there (such as row 2)" in one for one in found)
    assert any("<10 images are not named in the manifest (such as rows 3 and 4)" in one for one in found)


def test_all_is_found_before_anything_is_refused(tmp_path: Path) -> None:
    files = {f"{name}.png": data for name, (data, _) in FAULTS.items()} | {"a.png": GOOD[0]}
    columns = {"file": list(files), "patient": range(len(files)), "ill": ["odd", *[row % 2 for row in range(len(files) - 1)]]}
    checked = looked_at(site(tmp_path, files, columns))
    found = errors(checked)
    assert len(found) == len({words for _, words in FAULTS.values()})
    assert any("a code that is not known" in one for one in errors(checked, "ill"))
    assert sum(one.count or 0 for one in checked.report.errors if one.field == "film") == len(FAULTS)


_KINDS = [*FAULTS, "good", "absent", "outside", "unnamed", "flipped", "random"]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(0, 5), st.integers(0, 2**16), st.binary(max_size=64)), min_size=1, max_size=8)
)
def test_no_flaw_raises_and_every_flaw_is_counted(made: list[tuple[str, int, int, bytes]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        files, names = {}, []
        for number, (kind, which, where, data) in enumerate(made):
            hurt = bytearray(GOOD[which])
            hurt[where % len(hurt)] ^= 0x55
            content = {"good": GOOD[which], "flipped": bytes(hurt), "random": data}.get(kind, FAULTS.get(kind, (b"",))[0])
            names.append({"outside": "../../etc/hostname", "unnamed": "NA"}.get(kind, f"{number}.png"))
            if kind not in ("absent", "outside", "unnamed"):
                files[names[-1]] = content
        columns = {"file": names, "patient": range(len(names)), "ill": [row % 2 for row in range(len(names))]}
        checked = looked_at(site(folder, files, columns))
        (summary,) = (one for one in checked.report.fields if one.name == "film")
        stops = [one for one in checked.report.errors if one.field == "film"]
        assert sum(one.count or 0 for one in stops) == summary.missing
        assert summary.missing >= sum(kind not in ("good", "flipped") for kind, *_ in made)
        if summary.missing:
            assert checked.dataset is None
    finally:
        shutil.rmtree(folder)


def test_masks_instead_of_images_are_refused_and_a_few_are_told(tmp_path: Path) -> None:
    masks = [encoded((pixels(seed) > 200).astype(np.uint8) * 255) for seed in range(3)]
    (wrong,) = errors(looked_at(site(tmp_path, {f"{one}.png": data for one, data in enumerate([*masks, *GOOD[:2]])})))
    assert "at most 3 different values" in wrong
    assert "These are masks." in wrong
    checked = looked_at(site(tmp_path, {f"{one}.png": data for one, data in enumerate([*masks, *GOOD[:4]])}))
    assert checked.dataset is not None
    assert any("as masks have" in one for one in warnings(checked))


def test_masks_are_known_before_they_are_resized(tmp_path: Path) -> None:
    masks = {f"{seed}.png": encoded((pixels(seed, size=(50, 50)) > 200).astype(np.uint8) * 255) for seed in range(3)}
    assert any("These are masks." in one for one in errors(looked_at(site(tmp_path, masks, film=', resize = "pad"'))))


def test_eight_bits_where_sixteen_are_meant_are_refused(tmp_path: Path) -> None:
    files = {f"{one}.png": data for one, data in enumerate(GOOD)}
    (wrong,) = errors(looked_at(site(tmp_path, files), plan(intensity=(0, 65_535))))
    assert "as of 8 bits" in wrong
    assert "rescale = [0, 255]" in wrong
    told = looked_at(site(tmp_path, files, film=", rescale = [0, 255]"), plan(intensity=(0, 65_535)))
    assert told.dataset is not None
    assert np.array_equal(told.dataset.columns["film"][0, 0], pixels(0).astype(np.uint16) * 257)


def test_intensities_that_fill_hardly_any_of_the_range_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, SIZE, SIZE))
    (wrong,) = errors(looked_at(arrays(tmp_path, images=images, labels=np.arange(6) % 2), plan(patient=None)))
    assert "less than a 64th" in wrong
    assert looked_at(arrays(tmp_path, images=images, labels=np.arange(6) % 2), plan(patient=None, intensity=(0, 1))).dataset is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 256.0])
def test_values_that_are_none_or_outside_are_refused(tmp_path: Path, value: float) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE)).astype(np.float64)
    images[4, 3, 3] = value
    (wrong,) = errors(looked_at(arrays(tmp_path, images=images, labels=np.arange(6) % 2), plan(patient=None)))
    assert ("no numbers" if not np.isfinite(value) else "outside the contract's intensity, 0 to 255") in wrong
    assert "row 5" in wrong


def test_constant_images_are_told_and_not_refused(tmp_path: Path) -> None:
    files = {"a.png": GOOD[0], "b.png": encoded(np.full((SIZE, SIZE), 7, np.uint8)), "c.png": encoded(np.zeros((SIZE, SIZE), np.uint8))}
    checked = looked_at(site(tmp_path, files))
    assert checked.dataset is not None
    assert any("<10 images have one value everywhere (such as rows 2 and 3)" in one for one in warnings(checked))


def test_the_very_same_image_in_several_rows_is_told(tmp_path: Path) -> None:
    files = {f"{one}.png": data for one, data in enumerate([*GOOD[:4], GOOD[0], GOOD[1], GOOD[2]])}
    parts = ["train", "train", "train", "train", "test", "train", "train"]
    columns = {"file": list(files), "patient": [*"abcd", "e", "b", "f"], "ill": [0, 1, 0, 1, 0, 1, 1], "part": parts}
    rest = '[split]\ncolumn = "part"\ntrain = ["train"]\nvalidation = ["val"]\ntest = ["test"]'
    found = [one for one in warnings(looked_at(site(tmp_path, files, columns, rest=rest))) if "copies" in one]
    assert [one.partition("copies that ")[2].partition(" (such")[0] for one in found] == [
        "stand in rows of several patients",
        "stand in two parts (training, validation, test)",
        "stand there with different labels",
    ]
    assert "rows 1, 3 and 5" in found[0]
    assert "rows 1 and 5" in found[1]
    assert "rows 3 and 7" in found[2]


def test_one_patients_images_in_two_parts_are_refused(tmp_path: Path) -> None:
    files = {f"{one}.png": data for one, data in enumerate(GOOD)}
    columns = {"file": list(files), "patient": [*"aabbcc"], "ill": [0, 1] * 3, "part": ["train", "test", "train", "train", "test", "test"]}
    rest = '[split]\ncolumn = "part"\ntrain = ["train"]\ntest = ["test"]'
    assert any("<10 patients stand in two parts" in one for one in errors(looked_at(site(tmp_path, files, columns, rest=rest)), "split"))


def test_a_class_that_is_absent_is_told(tmp_path: Path) -> None:
    files = {f"{one}.png": data for one, data in enumerate(GOOD)}
    columns = {"file": list(files), "patient": range(6), "ill": [1] * 6}
    assert any("all rows of the site have the same class" in one for one in warnings(looked_at(site(tmp_path, files, columns))))


def test_rows_keep_their_numbers_where_a_patient_opted_out_and_that_image_is_not_opened(tmp_path: Path) -> None:
    files = {"a.png": b"nothing", "b.png": GOOD[1], "c.png": GOOD[2][:100], "d.png": GOOD[3]}
    (tmp_path / "out.txt").write_text("MRN0\n")
    one = site(tmp_path, files, rest='[consent]\nopt_out = "out.txt"')
    (wrong,) = errors(looked_at(one))
    assert "damaged" in wrong
    assert "such as row 3" in wrong


def test_an_image_takes_no_unit_and_a_code_no_size(tmp_path: Path) -> None:
    one = site(tmp_path, {"a.png": GOOD[0]}, film=', unit = "1"', rest='ill = { column = "ill", resize = "pad" }')
    assert any("an image has no unit" in found for found in errors(looked_at(one)))
    assert any("only an image has resize" in found for found in errors(looked_at(one), "ill"))


def test_the_summary_tells_size_and_intensities_of_ten_patients_only(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE)).astype(np.uint8)
    images[0, 0, :2] = 0, 255
    one = arrays(tmp_path, images=images, labels=np.arange(12) % 2)
    (text,) = (str(found) for found in looked_at(one, plan(patient=None)).report.fields if found.name == "film")
    assert text == f"film: images of 1 x 20 x 20, mean {images.mean():.3g}, sd {images.std():.2g}, from 0 to 255, missing 0"
    (text,) = (str(found) for found in looked_at(site(tmp_path, {"a.png": GOOD[0]})).report.fields if found.name == "film")
    assert text == "film: images of 1 x 20 x 20, not shown, fewer than 10 patients, missing 0"


@pytest.mark.parametrize("memory", [2**30, 1000])
def test_more_images_than_memory_are_mapped_and_the_same(tmp_path: Path, memory: int) -> None:
    one = site(tmp_path, {f"{name}.png": data for name, data in enumerate(GOOD)})
    checked = read(one, plan(), place=Place(memory=memory, scratch=tmp_path)).checked
    assert checked.dataset is not None
    film = checked.dataset.columns["film"]
    assert isinstance(film, np.memmap) == (memory == 1000)
    assert np.array_equal(film[:, 0], [pixels(seed) for seed in range(6)])
    assert {path.name for path in tmp_path.iterdir()} == {"films", "site.toml"}


def test_a_snapshot_holds_the_images_and_no_identifier(tmp_path: Path) -> None:
    one = site(tmp_path, {f"{name}.png": data for name, data in enumerate(GOOD)})
    prepared = prepare(one, plan(), tmp_path / "snapshots", Stream.public(1))
    assert (prepared.folder / "image-film.bin").stat().st_size == 6 * SIZE * SIZE
    assert all(b"MRN" not in path.read_bytes() for path in prepared.folder.iterdir())


def test_an_unknown_column_of_images_is_refused(tmp_path: Path) -> None:
    one = site(tmp_path, {"a.png": GOOD[0]})
    text = (tmp_path / "site.toml").read_text().replace('"file"', '"fiel"')
    (tmp_path / "site.toml").write_text(text)
    assert any("there is no column 'fiel'" in found for found in errors(looked_at(load_site(tmp_path / "site.toml"))))
    with pytest.raises(DataError, match="there is no column"):
        raise inspect(load_site(tmp_path / "site.toml"), plan()).report.error()
    assert one.name == "north"


@pytest.mark.parametrize("high", [1023, 4095, 65_535])
def test_eight_bits_among_deeper_images_are_told_and_refused_where_most_are_so(tmp_path: Path, high: int) -> None:
    deep = [encoded(pixels(seed, high)) for seed in range(10, 16)]
    for few, many in ((GOOD[:2], deep), (GOOD, deep[:5])):
        files = {f"{one}.png": data for one, data in enumerate([*few, *many])}
        checked = looked_at(site(tmp_path, files), plan(intensity=(0, high)))
        said = [one for one in (errors(checked) if len(few) > len(many) else warnings(checked)) if "as of 8 bits" in one]
        assert len(said) == 1 and "such as rows 1" in said[0]
        assert (checked.dataset is None) == (len(few) > len(many))
    checked = looked_at(site(tmp_path, {f"{one}.png": data for one, data in enumerate(deep)}), plan(intensity=(0, high)))
    assert not any("8 bits" in one for one in (*errors(checked), *warnings(checked)))


def test_eight_bits_alone_are_refused_in_twelve_and_taken_where_the_site_rescales(tmp_path: Path) -> None:
    files, twelve = {f"{one}.png": data for one, data in enumerate(GOOD)}, plan(intensity=(0, 4095))
    (wrong,) = errors(looked_at(site(tmp_path, files), twelve))
    assert "as of 8 bits" in wrong and "rescale = [0, 255]" in wrong
    checked = looked_at(site(tmp_path, files, film=", rescale = [0, 255]"), twelve)
    assert checked.dataset is not None and not any("8 bits" in one for one in warnings(checked))
