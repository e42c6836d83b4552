"""Size of the tiles: the user's, the network's, or the best one for the image."""

import numbers

from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import height_and_width
from keras_arch.tiling.networks import Network, Size
from keras_arch.tiling.windows import overlapping, side_by_side

# The largest tile where user and network leave it open. Larger ones overlap less and need more
# memory.
LARGEST = 960
# Part of a padded network's tile that lies on its neighbour, as in MONAI.
OVERLAP = 0.25


def tile_for(
    network: Network, tile: int | Size | None, size: Size, channels: int, overlap: float | None
) -> Size:
    """Height and width of the tiles for an image of some size and channels.

    `tile` and `overlap` are the user's choice, which must fit the network, or `None`.
    """
    if overlap is not None:
        number = isinstance(overlap, numbers.Real) and not isinstance(overlap, bool)
        if not number or not 0 <= overlap < 1:
            raise ArgumentError(f"overlap must be a part of the tile in [0, 1), got {overlap!r}")
    if tile is None:
        tile = _default(network, size, channels, OVERLAP if overlap is None else overlap)
    else:
        tile = height_and_width("tile", tile)
        for ours, theirs in zip(tile, network.size, strict=True):
            if theirs not in (None, ours):
                raise ArgumentError(
                    f"{network.name} takes tiles of {network.size[0]}x{network.size[1]} pixels, "
                    f"got tile={tile[0]}x{tile[1]}; leave tile out, or build it with an open size "
                    "(input_shape=(None, None, channels))"
                )
        if network.fits(tile) is False:
            raise ArgumentError(_unfit(network, tile))
    output = network.output_of(tile, channels)[:2]
    lost = [side - inner for side, inner in zip(tile, output, strict=True)]
    if min(lost) < 0 or any(pixels % 2 for pixels in lost) or (min(lost) == 0) != (max(lost) == 0):
        raise ArgumentError(
            f"{network.name} gives {output[0]}x{output[1]} pixels of a tile of "
            f"{tile[0]}x{tile[1]}; it must give as many, or less by the same border on both sides"
        )
    if overlap is not None and max(lost):
        raise ArgumentError(
            f"overlap={overlap!r} is for networks that give as much as their tile; "
            f"{network.name} gives {output[0]}x{output[1]} of {tile[0]}x{tile[1]}, and its "
            "outputs lie side by side"
        )
    return tile


def _default(network: Network, size: Size, channels: int, overlap: float) -> Size:
    """The default tile: as few of them as of the largest, and no larger than needed for that."""
    if None not in network.size:
        return tuple(network.size)
    if network.fits((LARGEST, LARGEST)) is None:
        raise ArgumentError(
            f"the tiles that {network.name} takes are not known; give the size that it was trained "
            "on, such as tile=512"
        )
    # The largest that the network takes, square where both sides are open.
    tiles = (tuple(fixed or side for fixed in network.size) for side in range(LARGEST, 0, -1))
    usual = next(filter(network.fits, tiles), None)
    if usual is None:
        raise ArgumentError(
            f"{network.name} takes no tile of up to {LARGEST} pixels a side; give a larger one"
        )
    *output, _ = network.output_of(usual, channels)
    multiple, chosen = network.multiple, list(usual)
    for axis in (0, 1):
        lost = usual[axis] - output[axis]

        def count(tile, axis=axis, lost=lost):
            side = (size[axis],) * 2
            if lost:
                return len(side_by_side(side, (tile - lost,) * 2, multiple).rows)
            return len(overlapping(side, (tile,) * 2, overlap).rows)

        while (
            network.size[axis] is None
            and chosen[axis] - multiple - lost >= multiple
            and count(chosen[axis] - multiple) == count(usual[axis])
        ):
            chosen[axis] -= multiple
    return tuple(chosen) if network.fits(tuple(chosen)) else usual


def _unfit(network: Network, tile: Size) -> str:
    """The error for a tile that the network does not take, with the next smaller and larger one."""
    found = []
    for direction in (-1, 1):
        for away in range(1, 2 * network.multiple + 1):
            sides = zip(tile, network.size, strict=True)
            near = tuple(fixed or side + direction * away for side, fixed in sides)
            if min(near) > 0 and network.fits(near):
                found.append(f"{near[0]}x{near[1]}")
                break
    names = " and ".join(found)
    return f"{network.name} does not take a tile of {tile[0]}x{tile[1]} pixels" + (
        f"; the next that it takes are {names}" if names else ""
    )
