import numpy as np
import pytest
from PIL import Image

from keras_arch import data
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing


def write(path, array, mode=None, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array))
    if palette is not None:
        image = image.convert("P") if image.mode != "P" else image
        image = Image.fromarray(np.asarray(array, np.uint8), "P")
        image.putpalette(palette)
    if mode:
        image = image.convert(mode)
    image.save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Writes masks beside images: `folder([mask, ...], split="train")`."""
    rng = np.random.default_rng(0)

    def make(masks, split="", **how):
        for number, mask in enumerate(masks):
            shape = np.shape(mask)[:2]
            where = tmp_path / split
            write(where / "images" / f"{number}.png", rng.integers(0, 255, shape, np.uint8))
            write(where / "masks" / f"{number}.png", np.asarray(mask, np.uint8), **how)
        return tmp_path

    return make


def loaded(source, split="train"):
    return [mask.numpy() for _, mask in data.load(source, split)]


HALVES = np.repeat([[0, 0, 1, 1]], 4, axis=0)


def test_binary_masks(folder):
    path = folder([HALVES * 255, HALVES[::-1] * 255])
    source = data.describe(f"masks:{path}")
    assert source.classes == ("background", "foreground")
    assert (source.kind, source.image_shape, source.splits) == ("masks", (4, 4, 1), {"train": 2})
    np.testing.assert_array_equal(loaded(f"masks:{path}")[0], HALVES)
    one_bit = folder([HALVES * 255], mode="1")
    np.testing.assert_array_equal(loaded(f"masks:{one_bit}")[0], HALVES)


def test_a_class_a_pixel_and_ignored_pixels(folder):
    mask = np.array([[0, 1, 2, 255]] * 4)
    path = folder([mask], "train")
    folder([HALVES], "val")
    source = data.describe(f"masks:{path}")
    assert source.classes == ("0", "1", "2")
    assert source.splits == {"train": 1, "val": 1}
    np.testing.assert_array_equal(loaded(f"masks:{path}")[0], mask)
    assert len(loaded(f"masks:{path}", "train+val")) == 2


def test_palettes_give_numbers_and_colours(folder):
    mask = np.array([[0, 1, 1, 255]] * 4)
    palette = [0, 0, 0, 128, 0, 0] + [0] * 759 + [224, 224, 192]
    path = folder([mask], palette=palette)
    assert data.describe(f"masks:{path}").colors == ((0, 0, 0), (128, 0, 0))
    np.testing.assert_array_equal(loaded(f"masks:{path}")[0], mask)
    by_colour = f"masks:{path}?classes=red:#800000,black:#000000,ignore:#e0e0c0"
    np.testing.assert_array_equal(loaded(by_colour)[0], [[1, 0, 0, 255]] * 4)
    assert data.describe(by_colour).classes == ("red", "black")


def test_colours_with_and_without_alpha(folder):
    table = np.array([[0, 0, 0], [255, 0, 170], [9, 9, 9]], np.uint8)
    path = folder([table[HALVES]])
    source = f"masks:{path}?classes=road:#000000,car:#ff00aa"
    np.testing.assert_array_equal(loaded(source)[0], HALVES)
    assert data.describe(source).colors == ((0, 0, 0), (255, 0, 170))
    opaque = folder([table[HALVES]], mode="RGBA")
    np.testing.assert_array_equal(loaded(f"masks:{opaque}?classes=a:#000000,b:#ff00aa")[0], HALVES)
    grey = folder([table[2 * HALVES]])
    np.testing.assert_array_equal(loaded(f"masks:{grey}?classes=a:0,b:9")[0], HALVES)
    with pytest.raises(DataError, match=r"in colour \(#000000, #ff00aa\); name the classes"):
        data.describe(f"masks:{folder([table[HALVES]])}")


def test_tables_of_numbers_and_other_folders(tmp_path):
    write(tmp_path / "image" / "0.png", np.zeros((4, 4), np.uint8))
    write(tmp_path / "label" / "0.png", (HALVES * 200).astype(np.uint8))
    source = f"masks:{tmp_path}?images=image&masks=label&classes=membrane:0,interior:200,other:9"
    assert data.describe(source).classes == ("membrane", "interior", "other")
    np.testing.assert_array_equal(loaded(source)[0], HALVES)


def test_sixteen_bits(tmp_path):
    deep = np.array([[0, 257 * 100, 65535, 255]] * 4, np.uint16)
    write(tmp_path / "images" / "a.png", deep)
    write(tmp_path / "masks" / "a.png", (HALVES * 300).astype(np.uint16))
    source = f"masks:{tmp_path}?classes=a:0,b:300"
    ((image, mask),) = data.load(source)
    # All levels, which `Preprocessing` brings to [0, 255].
    np.testing.assert_array_equal(image.numpy()[0, :, 0], deep[0])
    pixels = Preprocessing((4, 4), 1, scale=1.0)(image.numpy())[0, :, 0]
    np.testing.assert_allclose(pixels, [0, 100, 255, 255 / 257], rtol=1e-6)
    np.testing.assert_array_equal(mask, HALVES)


def test_alpha_of_images_is_left_out(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 4, 4), np.uint8)
    write(tmp_path / "images" / "a.png", pixels)
    write(tmp_path / "masks" / "a.png", (HALVES * 255).astype(np.uint8))
    ((image, _),) = data.load(f"masks:{tmp_path}")
    np.testing.assert_array_equal(image, pixels[..., :3])


@pytest.mark.parametrize(
    ("masks", "options", "message"),
    [
        ([HALVES * 7], "?classes=a:0,b:1", r"0\.png holds the unknown value 7; .* a 0, b 1"),
        ([[[3, 4, 5, 0]]], "?classes=a:0,b:1", "unknown values 3, 4, 5"),
        ([HALVES * 128], "", "values 0, 128 .*name them"),
        ([HALVES, np.full((4, 4), 255)], "", r"1\.png are ignored.*remove it"),
        ([HALVES * 0], "", "the one class 0; segmentation needs two"),
        ([HALVES], "?classes=a:0,b:1&mask=x", "mask=x"),
        ([HALVES], "?classes=a:0,a:1", "'a:1'"),
        ([HALVES], "?classes=a:0,b:#000000", "not both"),
        ([HALVES], "?classes=a:0", "names 1 classes"),
        ([HALVES], "?images=../x", "names of folders"),
        ([HALVES], "?images=pictures", "must hold folders pictures and masks"),
    ],
)
def test_mistakes_are_named(folder, masks, options, message):
    with pytest.raises(DataError, match=message):
        data.describe(f"masks:{folder(masks)}{options}")


def test_one_class_in_one_mask_is_no_mistake(folder):
    path = folder([HALVES * 0, HALVES])
    assert not loaded(f"masks:{path}")[0].any()
    assert len(loaded(f"masks:{folder([HALVES * 0])}?classes=a:0,b:1")) == 2


def test_images_and_masks_that_do_not_match(folder, tmp_path):
    path = folder([HALVES, HALVES])
    (path / "masks" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1 of the 2 images .* no image of the same name.*1\.png"):
        data.describe(f"masks:{path}")
    write(path / "masks" / "1.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(DataError, match=r"1\.png has 4x4 pixels and its mask .* has 5x4"):
        data.describe(f"masks:{path}")
    (path / "masks" / "1.png").unlink()
    write(path / "masks" / "1.jpg", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="JPEG file, which blurs values"):
        data.describe(f"masks:{path}")
    with pytest.raises(DataError, match="names no path"):
        data.describe("masks:")
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        data.describe(f"masks:{tmp_path}/nowhere?classes=a:0,b:1")


def test_pets_without_a_network(tmp_path):
    with pytest.raises(DataError, match=r"oxford_iiit_pet.* is not prepared"):
        data.describe("masks:tfds:oxford_iiit_pet", data_dir=tmp_path)


def test_pets(tmp_path):
    """The set's own features, with three made examples in TFDS's files."""
    tfds = pytest.importorskip("tensorflow_datasets")
    real = tfds.builder("oxford_iiit_pet", data_dir=tmp_path)
    features = real.info.features
    assert features["segmentation_mask"].shape == (None, None, 1)
    mask = np.array([[1, 2, 3, 3]] * 4, np.uint8)[..., None]
    example = dict.fromkeys(features)
    example |= {"image": np.zeros((4, 4, 3), np.uint8), "segmentation_mask": mask}
    example |= {"label": 0, "species": 0, "file_name": "a.jpg"}
    if "head_bbox" in features:
        example["head_bbox"] = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="oxford_iiit_pet",
        version=str(real.version),
        features=features,
        split_datasets={"train": [(n, example) for n in range(3)]},
        data_dir=tmp_path,
    )
    source = data.describe("masks:tfds:oxford_iiit_pet", data_dir=tmp_path)
    assert source.classes == ("pet", "background", "border")
    found = [m.numpy() for _, m in data.load("masks:tfds:oxford_iiit_pet", data_dir=tmp_path)]
    assert len(found) == 3
    np.testing.assert_array_equal(found[0], mask[..., 0] - 1)


def test_sets_without_masks():
    with pytest.raises(DataError, match=r"has no masks with named classes|not prepared"):
        data.describe("masks:tfds:mnist")


def test_drawn_cells_touch_and_are_parted():
    image, instances = data.draw_cells(seed=3)
    again, _ = data.draw_cells(seed=3)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(data.instances_of(instances > 0), instances)
    assert instances.max() > 10
    # Gaps of touching cells weigh more than twice as much as what lies around.
    weights = data.border_weights(instances, balance=False)
    assert (weights > 8).sum() > 100
    assert image[instances > 0].mean() > image[instances == 0].mean() + 15
    with pytest.raises(ArgumentError, match="16x16"):
        data.draw_cells(size=(8, 64))


def test_cells_are_a_source():
    source = data.describe("cells")
    assert (source.kind, source.classes) == ("masks", ("background", "cell"))
    image, mask = next(iter(data.load("cells", "test[:1]")))
    assert (image.shape, mask.shape, image.dtype) == ((128, 128, 1), (128, 128), "uint8")
    assert set(np.unique(mask)) == {0, 1}
    assert len(data.load("cells", "train[:4]")) == 4
