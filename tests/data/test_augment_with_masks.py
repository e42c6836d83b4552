import numpy as np
import pytest
import tensorflow as tf
from scipy import interpolate, ndimage

from keras_arch import data
from keras_arch.data.augment import sampling, with_masks
from keras_arch.errors import ArgumentError

ALL = ["flip", "flip_vertical", "rotate:180", "shift:5", "zoom:0.2", "elastic:10", "grey:0.2"]


def discs(size=128, seed=0):
    rng = np.random.default_rng(seed)
    grid, mask = np.mgrid[:size, :size], np.zeros((size, size), np.uint8)
    for _ in range(6):
        centre, radius = rng.uniform(0, size, 2), rng.uniform(10, 25)
        mask[((grid - centre[:, None, None]) ** 2).sum(0) < radius**2] = 1
    return mask


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_image_and_mask_move_together(order, seed):
    """A mask that is bent as an image, and thresholded, is the mask bent by nearest neighbours."""
    mask = discs(seed=seed)
    changes = [name for name in ALL if not name.startswith("grey")]
    image, moved = data.augment_with_mask(
        255 * mask[..., None], mask, changes, [7, seed], order=order
    )
    agreement = ((image.numpy()[..., 0] > 127.5) == moved.numpy()).mean()
    assert agreement > 0.99
    assert (moved.numpy() != mask).mean() > 0.1


def test_elastic_displacement_is_the_papers():
    fields = np.stack(
        [with_masks.Elastic(10).displacement(65, 97, [3, n]).numpy() for n in range(300)]
    )
    at_grid = fields[:, :, ::32, ::48]
    assert at_grid.shape[2:] == (3, 3)
    assert at_grid.std() == pytest.approx(10, rel=0.05)
    assert abs(at_grid.mean()) < 0.5
    # Through the points that were drawn, as any interpolation goes; smooth between them.
    assert np.abs(np.diff(fields, axis=2)).max() < 4


def test_bicubic_interpolation_keeps_lines_and_goes_through_points():
    basis = sampling.bicubic_of_three(41)
    np.testing.assert_allclose(basis[[0, 20, 40]], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(basis @ [1.0, 2.0, 3.0], np.linspace(1, 3, 41), atol=1e-6)
    # Keys' interpolation is a cubic with central differences as slopes: SciPy's Hermite spline.
    values = np.array([0.5, -2.0, 1.0])
    ends = [values[1] - values[0], (values[2] - values[0]) / 2, values[2] - values[1]]
    spline = interpolate.CubicHermiteSpline([0, 1, 2], values, ends)
    np.testing.assert_allclose(basis @ values, spline(np.linspace(0, 2, 41)), atol=1e-5)


@pytest.mark.parametrize(("order", "scipy_order"), [(0, 0), (1, 1)])
def test_sampling_against_scipy(order, scipy_order):
    rng = np.random.default_rng(1)
    image = rng.uniform(0, 255, (9, 12, 2)).astype("float32")
    places = np.stack([rng.uniform(-20, 30, (6, 7)), rng.uniform(-30, 40, (6, 7))])
    found = sampling.sample(image, places.astype("float32"), order).numpy()
    for channel in range(2):
        expected = ndimage.map_coordinates(
            image[..., channel].astype(float), places, order=scipy_order, mode="mirror"
        )
        np.testing.assert_allclose(found[..., channel], expected, atol=2e-3)


def test_bicubic_sampling_is_exact_on_parabolas():
    rows, columns = np.mgrid[:20, :20].astype("float32")
    image = (rows**2 - rows * columns + 3)[..., None]
    places = np.random.default_rng(2).uniform(3, 15, (2, 5, 5)).astype("float32")
    found = sampling.sample(image, places, 3).numpy()[..., 0]
    np.testing.assert_allclose(found, places[0] ** 2 - places[0] * places[1] + 3, rtol=1e-4)


def test_movements_by_themselves():
    mask = np.arange(25, dtype=np.uint8).reshape(5, 5)

    def changed(change, seed):
        return data.augment_with_mask(mask[..., None], mask, [change], [0, seed])[1].numpy()

    flips = {changed("flip", seed).tobytes() for seed in range(20)}
    assert flips == {mask.tobytes(), np.ascontiguousarray(mask[:, ::-1]).tobytes()}
    flips = {changed("flip_vertical", seed).tobytes() for seed in range(20)}
    assert flips == {mask.tobytes(), np.ascontiguousarray(mask[::-1]).tobytes()}
    matrix = with_masks.Rotation(90).matrix([0, 1]).numpy()
    np.testing.assert_allclose(matrix[:, :2] @ matrix[:, :2].T, np.eye(2), atol=1e-6)
    angles = [
        np.degrees(np.arctan2(*with_masks.Rotation(30).matrix([0, n]).numpy()[1::-1, 0]))
        for n in range(200)
    ]
    assert 25 < np.abs(angles).max() <= 30
    shifts = np.stack([with_masks.Shift(3).matrix([0, n]).numpy()[:, 2] for n in range(200)])
    assert 2.7 < np.abs(shifts).max() <= 3
    factors = [with_masks.Zoom(0.5).matrix([0, n]).numpy()[0, 0] for n in range(200)]
    assert min(factors) >= 1 / 1.5 - 1e-6
    assert 1.4 < max(factors) <= 1.5 + 1e-6


@pytest.mark.slow
def test_grey_values_change_and_the_mask_does_not():
    image = np.full((8, 8, 1), 100, np.uint8)
    image[:4] = 140
    mask = discs(8)
    lights = []
    for seed in range(50):
        changed, same = data.augment_with_mask(image, mask, ["grey:0.1"], [0, seed])
        np.testing.assert_array_equal(same, mask)
        lights.append(changed.numpy().mean() - 120)
        step = float(changed[0, 0, 0] - changed[7, 0, 0])
        assert 36 - 1e-3 <= step <= 44 + 1e-3
    assert 20 < np.abs(lights).max() <= 25.5


def test_the_same_seed_gives_the_same_change():
    mask = discs()
    first, again, other = (
        data.augment_with_mask(mask[..., None], mask, ALL, seed)
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    tf.debugging.assert_equal(first[0], again[0])
    assert (first[1] != other[1]).numpy().any()


def test_mistakes():
    for names, message in (
        (["elastics"], "did you mean elastic"),
        (["elastic:much"], "cannot be read; write elastic:10"),
        (["flip:3"], "cannot be read; write flip"),
        (["elastic:-1"], "Elastic: sigma must be a number in .0, inf., got -1"),
        ("flip", "list of names"),
    ):
        with pytest.raises(ArgumentError, match=message):
            data.mask_augmentations(names)
