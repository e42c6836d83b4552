"""Masks by suffix and pattern, mask formats, instances, and images with many channels."""

import numpy as np
import pytest
from PIL import Image

from keras_arch import data
from keras_arch.data import image_reading
from keras_arch.errors import DataError
from keras_arch.preprocessing import Preprocessing

HALVES = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)


def write(path, array, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(np.asarray(array)).save(path, **how)
    return path


def image(path, seed=0):
    rng = np.random.default_rng(seed)
    return write(path, rng.integers(0, 255, (4, 4), np.uint8))


def masks_of(source, split="train"):
    return [example[1].numpy() for example in data.load(source, split)]


@pytest.mark.parametrize(
    ("images", "masks", "options"),
    [
        ("{}.png", "{}_mask.png", "?suffix=_mask"),
        ("{}.png", "{}_mask.png", "?masks={name}_mask.png"),
        ("images/{}.jpg", "masks/{}_mask.png", "?suffix=_mask"),
        ("images/{}.png", "images/{}_mask.png", "?suffix=_mask"),
        ("{}.jpg", "{}.png", "?masks={name}.png"),
        ("train/{}.jpg", "train_masks/{}_mask.gif",
         "?images=train&masks=train_masks/{name}_mask.gif"),
        ("images/{}.png", "labels/L_{}.tif", "?masks=labels/L_{name}.tif"),
        ("images/{}.png", "masks/{}.npy", ""),
        ("images/{}.png", "masks/{}.bmp", ""),
    ],
)  # fmt: skip
def test_every_way_to_name_masks(tmp_path, images, masks, options):
    wanted = [HALVES, HALVES.T]
    for name, mask in zip(("a", "b_1"), wanted, strict=True):
        image(tmp_path / images.format(name))
        write(tmp_path / masks.format(name), mask * 255)
    source = f"masks:{tmp_path}{options}"
    assert data.describe(source).classes == ("background", "foreground")
    for found, mask in zip(masks_of(source), wanted, strict=True):
        np.testing.assert_array_equal(found, mask)


def test_suffixes_in_splits(tmp_path):
    for split in ("train", "val"):
        image(tmp_path / split / "a.png")
        write(tmp_path / split / "a_mask.png", HALVES * 255)
    assert data.describe(f"masks:{tmp_path}?suffix=_mask").splits == {"train": 1, "val": 1}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["a.png", "b.png", "a_mask.png"], "?suffix=_mask", r"1 of the 2 images .* no mask"),
        (["a.png", "a_mask.png", "b_mask.png"], "?suffix=_mask", r"no image .*: .*b_mask\.png"),
        (["a.png", "a_mask.png", "a_mask.bmp"], "?suffix=_mask", "have one name"),
        (["a.png"], "?suffix=_mask", r"holds no mask '\{name\}_mask\.\*'"),
        (["images/a.png", "masks/a_m.png"], "", r"the masks are named by \?suffix=_m"),
        (["a.png", "a_mask.png"], "", r"\?suffix=_mask takes masks beside their images"),
        (["a.png", "a_mask.jpg"], "?suffix=_mask", "JPEG file, which blurs values"),
        (["a.png", "a_mask.webp"], "?suffix=_mask", "WEBP file, which may blur values"),
        (["a.png"], "?suffix=_m&masks={name}_m.png", "both name the masks; give one"),
        (["a.png"], "?masks={name}", "names the images themselves"),
        (["a.png"], "?masks=../{name}_m.png", "names of folders"),
        (["a.png"], "?instances=yes", "instances is true or false"),
        (["a.png"], "?instances=true&classes=a:0,b:1", "leave classes=a:0,b:1 out"),
    ],
)  # fmt: skip
def test_mistakes_of_names(tmp_path, files, options, message):
    for file in files:
        write(tmp_path / file, HALVES * 255)
    with pytest.raises(DataError, match=message):
        data.describe(f"masks:{tmp_path}{options}")


def test_a_gif_has_its_colours_and_not_its_places(tmp_path):
    """Places in a GIF's own palette depend on the colours that this one file has."""
    image(tmp_path / "images/a.png")
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    write(tmp_path / "masks/a.gif", colours[HALVES * 2])
    with pytest.raises(DataError, match=r"in colour \(#000000, #008000\); name the classes"):
        data.describe(f"masks:{tmp_path}")
    source = f"masks:{tmp_path}?classes=sky:#000000,car:#800000,tree:#008000"
    np.testing.assert_array_equal(masks_of(source)[0], HALVES * 2)


@pytest.mark.parametrize("kind", ["gif", "tif"])
def test_masks_of_several_pages_are_refused(tmp_path, kind):
    image(tmp_path / "images/a.png")
    pages = [Image.fromarray(HALVES * value) for value in (255, 128)]
    (tmp_path / "masks").mkdir()
    pages[0].save(tmp_path / f"masks/a.{kind}", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds 2 pages; a mask is one"):
        data.describe(f"masks:{tmp_path}")


def test_masks_are_whole_numbers(tmp_path):
    image(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.npy", HALVES.astype(float))
    np.testing.assert_array_equal(masks_of(f"masks:{tmp_path}")[0], HALVES)
    for wrong, message in (
        (HALVES * 0.5, "no whole numbers"),
        (HALVES.astype(int) - 1, "value -1; a mask has numbers from 0"),
        (HALVES[..., None], r"shape \(4, 4, 1\), a mask is"),
    ):
        write(tmp_path / "masks/a.npy", wrong)
        with pytest.raises(DataError, match=message):
            data.describe(f"masks:{tmp_path}")
    np.save(tmp_path / "masks/a.npy", {"masks": HALVES}, allow_pickle=True)
    with pytest.raises(DataError, match=r"Python objects, .*Cellpose"):
        data.describe(f"masks:{tmp_path}")


# Three instances, two of which touch; more than 255 of them in a file of 16 bits.
TOUCHING = np.zeros((6, 8), np.uint16)
TOUCHING[1:5, 1:3], TOUCHING[1:5, 3:6], TOUCHING[5, 7] = 300, 301, 7


@pytest.mark.parametrize("name", ["a_cp_masks.png", "a_cp_masks.tif", "a_cp_masks.npy"])
def test_instances_give_background_and_object(tmp_path, name):
    write(tmp_path / "a.png", np.zeros((6, 8), np.uint8))
    write(tmp_path / name, TOUCHING)
    source = f"masks:{tmp_path}?suffix=_cp_masks&instances=true"
    assert data.describe(source).classes == ("background", "object")
    ((_, mask, instances),) = data.load(source)
    apart = data.separate_instances(TOUCHING)
    np.testing.assert_array_equal(instances, apart)
    np.testing.assert_array_equal(mask, apart > 0)
    assert mask.dtype == "uint8"
    assert instances.dtype == "int32"


@pytest.mark.parametrize("crop_mode", ["tiles", pytest.param("whole", marks=pytest.mark.slow)])
def test_instances_weigh_the_borders_between_them(tmp_path, crop_mode):
    """Diagonal neighbours are one region, and two instances: the gap between them weighs more."""
    instances = np.zeros((8, 8), np.uint8)
    instances[1:4, 1:4], instances[4:7, 3:7] = 1, 2
    write(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    write(tmp_path / "a_m.png", instances)
    dataset = data.load(f"masks:{tmp_path}?suffix=_m&instances=true")
    batches = data.segmentation_train_batches(
        dataset, Preprocessing((8, 8), 1), 1, seed=0, weights=data.WeightMap(), crop_mode=crop_mode
    )
    _, mask, weights = (part.numpy()[0] for part in next(iter(batches.dataset)))
    apart = data.separate_instances(instances)
    np.testing.assert_array_equal(mask, apart > 0)
    np.testing.assert_allclose(weights, data.border_weights(apart, mask=mask), rtol=1e-6)
    # The pixel that parts them: one pixel from either.
    assert apart[4, 3] == 0
    assert weights[4, 3] > weights[0, 7] + 5
    tiles = data.segmentation_eval_batches(dataset, Preprocessing((8, 8), 1), 1)
    assert len(next(iter(tiles))) == 2


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_with_five_channels_keep_their_values(tmp_path, dtype):
    rng = np.random.default_rng(0)
    arrays = [(rng.random((4, width, 5)) * 200).astype(dtype) for width in (4, 6)]
    if dtype == "uint16":
        arrays = [array * 20 for array in arrays]
    for number, array in enumerate(arrays):
        write(tmp_path / f"images/{number}.npy", array)
        mask = np.zeros(array.shape[:2], np.uint8)
        mask[:2] = 255
        write(tmp_path / f"masks/{number}.png", mask)
    source = f"masks:{tmp_path}"
    assert data.describe(source).image_shape == (None, None, 5)
    for (found, _), array in zip(data.load(source), arrays, strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, array)
    # The whole range of 16 bits becomes [0, 255], unless another one is named.
    named = {"value_range": (0, 4000)} if dtype == "uint16" else {}
    factor = 255 / 4000 if dtype == "uint16" else 1
    batches = data.segmentation_eval_batches(
        data.load(source), Preprocessing((4, 6), 5, scale=1 / 200, mean=[0.1] * 5, **named), 2
    )
    images, _ = next(iter(batches))
    np.testing.assert_allclose(images[1], arrays[1] * (factor / 200) - 0.1, atol=1e-5)


def test_images_that_are_no_arrays_of_pixels(tmp_path):
    mask = write(tmp_path / "masks/a.png", HALVES * 255)
    for array, message in (
        (np.zeros((5, 64, 64), np.uint8), r"channels come last: save it as np\.moveaxis"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"must hold an image, .* got shape \(2, 4, 4, 3\)"),
        (np.zeros((4, 4, 5), np.int64), "holds int64; save it as uint8, uint16, int32"),
        (np.zeros((4, 5, 5), np.uint8), "has 5x4 pixels and its mask"),
    ):
        write(tmp_path / "images/a.npy", array)
        with pytest.raises(DataError, match=message):
            data.describe(f"masks:{tmp_path}")
    write(tmp_path / "images/a.npy", np.zeros((4, 4, 5), np.uint8))
    write(tmp_path / "images/b.npy", np.zeros((4, 4, 4), np.uint8))
    write(mask.with_name("b.png"), HALVES * 255)
    with pytest.raises(DataError, match=r"as many channels; they have: .*b\.npy 4, .*a\.npy 5"):
        data.describe(f"masks:{tmp_path}")


def test_tiff_images(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)
    colour = write(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(image_reading.read_image(colour), array)
    pages = [Image.fromarray(array)] * 2
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds 2 pages or pictures; save each"):
        image_reading.read_image(tmp_path / "pages.tif")


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("channels", [2, 4, 6])
def test_tiff_images_with_many_channels(tmp_path, planes, channels):
    tifffile = pytest.importorskip("tifffile")
    array = np.random.default_rng(0).integers(0, 4000, (8, 8, channels)).astype(np.uint16)
    written = array if planes == "contig" else np.moveaxis(array, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", written, photometric="minisblack", planarconfig=planes,
        extrasamples=["unspecified"] * (channels - 1),
    )  # fmt: skip
    np.testing.assert_array_equal(image_reading.read_image(tmp_path / "a.tif"), array)
