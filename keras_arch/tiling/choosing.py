"""The size of the tiles: the user's, the network's, or one that the image asks for."""

import numbers

from keras_arch.errors import ArgumentError
from keras_arch.tiling.networks import Network, Size
from keras_arch.tiling.windows import overlapping, side_by_side

# The largest tile where user and network leave it open: less of a larger one is computed twice, and
# it takes more memory.
LARGEST = 960
# Part of a padded network's tile that lies on its neighbour, as in MONAI.
OVERLAP = 0.25


def tile_for(
    network: Network, tile: int | Size | None, size: Size, channels: int, overlap: float | None
) -> Size:
    """Height and width of the tiles.

    Args:
        network: What they are for.
        tile: What the user asked for.
        size: Of the image.
        channels: Of the image.
        overlap: What the user asked for, which must have a meaning.

    Raises:
        ArgumentError: If the network does not take such tiles, or nothing tells their size.
    """
    if overlap is not None:
        number = isinstance(overlap, int | float) and not isinstance(overlap, bool)
        if not number or not 0 <= overlap < 1:
            raise ArgumentError(f"overlap must be a part of the tile in [0, 1), got {overlap!r}")
    if tile is None:
        tile = _default(network, size, channels, OVERLAP if overlap is None else overlap)
    else:
        sides = tuple(tile) if isinstance(tile, tuple | list) else (tile, tile)
        whole = all(isinstance(s, numbers.Integral) and not isinstance(s, bool) for s in sides)
        if len(sides) != 2 or not whole or min(sides) < 1:
            raise ArgumentError(f"tile must be pixels or (height, width) in pixels, got {tile!r}")
        tile = tuple(map(int, sides))
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
    """Tiles of which nobody said anything.

    As few as the largest would be, and no larger than it takes so few to cover the image.
    """
    if None not in network.size:
        return tuple(network.size)
    usual = _near(network, network.size, LARGEST)
    if usual is None:
        told = network.fits((LARGEST, LARGEST)) is not None
        raise ArgumentError(
            f"{network.name} takes no tile of up to {LARGEST} pixels a side; give a larger one"
            if told
            else f"{network.name} does not tell what tiles it takes; give the size that it was "
            "trained on, such as tile=512"
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


def _near(network: Network, sides: list[int | None], limit: int) -> Size | None:
    """The largest tile up to a limit that the network takes, square where both sides are open."""
    if network.fits((limit, limit)) is None:
        return None
    for side in range(limit, 0, -1):
        tile = tuple(fixed or side for fixed in sides)
        if network.fits(tile):
            return tile
    return None


def _unfit(network: Network, tile: Size) -> str:
    """What to say of a tile that is not taken: those below and above that are."""
    found = []
    for direction in (-1, 1):
        for away in range(1, 2 * network.multiple + 1):
            near = tuple(
                fixed or side + direction * away
                for side, fixed in zip(tile, network.size, strict=True)
            )
            if min(near) > 0 and network.fits(near):
                found.append(near)
                break
    names = " and ".join(f"{height}x{width}" for height, width in found)
    return f"{network.name} does not take a tile of {tile[0]}x{tile[1]} pixels" + (
        f"; the next that it takes are {names}" if names else ""
    )
