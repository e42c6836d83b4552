"""PyTorch networks of the benchmarks, written from the papers' descriptions."""

import itertools

import torch
from steps import LATENT_SIZE, RESIDUAL_BLOCKS
from torch import Tensor, nn

FILTERS = 64


class UNet(nn.Module):
    """Pix2pix's U-Net: eight halvings, eight doublings, maps of the same size concatenated."""

    def __init__(self) -> None:
        super().__init__()
        widths = [FILTERS * min(2**level, 8) for level in range(8)]
        down, up = [nn.Sequential(_halve(3, widths[0], bias=False))], []
        for level, (before, after) in enumerate(itertools.pairwise(widths), start=2):
            # In place: the ReLU of the concatenated map gives the same result either way.
            stage = [nn.LeakyReLU(0.2, inplace=True), _halve(before, after, bias=False)]
            # The innermost map has one pixel, which a norm would set to a constant.
            stage += [nn.BatchNorm2d(after)] * (level < 8)
            down.append(nn.Sequential(*stage))
        before = widths[-1]
        for level, after in enumerate(widths[-2::-1], start=1):
            stage = [nn.ReLU(inplace=True), _double(before, after, bias=False)]
            stage += [nn.BatchNorm2d(after)] + [nn.Dropout(0.5)] * (level <= 3)
            up.append(nn.Sequential(*stage))
            before = 2 * after
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.output = nn.Sequential(nn.ReLU(inplace=True), _double(before, 3), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """Translate images in [-1, 1]."""
        x, maps = image, []
        for stage in self.down:
            x = stage(x)
            maps.append(x)
        for stage, skip in zip(self.up, maps[-2::-1], strict=True):
            x = torch.cat([skip, stage(x)], 1)
        return self.output(x)


class Residual(nn.Module):
    """Residual block of two convolutions with mirrored borders."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (
            [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            for _ in range(2)
        )
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same shape."""
        return x + self.body(x)


class Bottleneck(nn.Module):
    """ResNet's block of 1x1, 3x3 and 1x1 convolutions, with its stride in the first."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width

        def convolution(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
            convolve = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            return [convolve, nn.BatchNorm2d(after)]

        self.body = nn.Sequential(
            *convolution(before, width, 1, stride),
            nn.ReLU(inplace=True),
            *convolution(width, width, 3, 1),
            nn.ReLU(inplace=True),
            *convolution(width, after, 1, 1),
        )
        same = stride == 1 and before == after
        self.shortcut = nn.Sequential(*([] if same else convolution(before, after, 1, stride)))

    def forward(self, x: Tensor) -> Tensor:
        """A map of four times `width` channels."""
        return nn.functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def resnet50(classes: int) -> nn.Module:
    """ResNet-50 as in the paper, up to its logits."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    before = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            layers.append(Bottleneck(before, width, 2 if stage and not block else 1))
            before = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)]
    return nn.Sequential(*layers)


def unet(padding: int) -> nn.Module:
    """U-Net from one channel to two classes: 0 pixels of padding as in the paper, or 1."""
    return SegmentationUNet(padding)


class SegmentationUNet(nn.Module):
    """U-Net: four halvings, four doublings, maps of the same stride cropped and concatenated."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        widths = [FILTERS * 2**level for level in range(5)]

        def double(before: int, after: int) -> list[nn.Module]:
            layers = []
            for width in (before, after):
                layers += [nn.Conv2d(width, after, 3, padding=padding), nn.ReLU(inplace=True)]
            return layers

        down = [double(before, after) for before, after in itertools.pairwise([1, *widths])]
        # As in the authors' network.
        for stage in down[-2:]:
            stage.append(nn.Dropout(0.5))
        self.down = nn.ModuleList(nn.Sequential(*stage) for stage in down)
        steps = list(itertools.pairwise(widths[::-1]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(*step, 2, 2) for step in steps)
        self.up = nn.ModuleList(nn.Sequential(*double(*step)) for step in steps)
        self.logits = nn.Conv2d(FILTERS, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the classes of every pixel."""
        x, maps = image, []
        for level, stage in enumerate(self.down):
            x = stage(nn.functional.max_pool2d(x, 2) if level else x)
            maps.append(x)
        for enlarge, stage, across in zip(self.enlarge, self.up, maps[-2::-1], strict=True):
            x = enlarge(x)
            border = (across.shape[-1] - x.shape[-1]) // 2
            across = nn.functional.pad(across, (-border,) * 4) if border else across
            x = stage(torch.cat([across, x], 1))
        return self.logits(x)


def dcgan(image_size: int) -> list[nn.Module]:
    """DCGAN with 4x4 kernels: G from 1x1 over 4x4 up to the image, D from the image down to 1x1."""
    stages = (image_size // 4).bit_length() - 1
    widths = [FILTERS * 2**stage for stage in range(stages)]  # 64, 128, 256, 512

    up = [nn.ConvTranspose2d(LATENT_SIZE, widths[-1], 4, 1, 0, bias=False)]
    for before, after in itertools.pairwise(widths[::-1]):
        up += [nn.BatchNorm2d(before), nn.ReLU(inplace=True), _double(before, after, bias=False)]
    up += [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    up += [_double(widths[0], 3, bias=False), nn.Tanh()]

    down = [_halve(3, widths[0], bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for before, after in itertools.pairwise(widths):
        down += [_halve(before, after, bias=False)]
        down += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
    down += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Flatten(0)]
    return [nn.Sequential(*up), nn.Sequential(*down)]


def pix2pix() -> list[nn.Module]:
    """Pix2pix: the U-Net, and the 70-pixel patch discriminator of pairs of images."""
    return [UNet(), patch_discriminator(6, instance_norm=False)]


def cyclegan() -> list[nn.Module]:
    """CycleGAN: two generators of residual blocks, two 70-pixel patch discriminators."""
    generators = [residual_generator() for _ in range(2)]
    return generators + [patch_discriminator(3, instance_norm=True) for _ in range(2)]


def residual_generator() -> nn.Module:
    """CycleGAN's generator: two halvings, residual blocks, two doublings."""

    def norm_relu(width: int) -> list[nn.Module]:
        return [nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, FILTERS, 7), *norm_relu(FILTERS)]
    widths = [FILTERS, 2 * FILTERS, 4 * FILTERS]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, 2, 1), *norm_relu(after)]
    layers += [Residual(widths[-1]) for _ in range(RESIDUAL_BLOCKS)]
    for before, after in itertools.pairwise(widths[::-1]):
        layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), *norm_relu(after)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(FILTERS, 3, 7), nn.Tanh())


def patch_discriminator(channels: int, *, instance_norm: bool) -> nn.Module:
    """Patch discriminator: three halvings, two convolutions of stride 1, kernels of 4x4."""
    widths = [FILTERS * 2**stage for stage in range(4)]
    layers = [_halve(channels, widths[0]), nn.LeakyReLU(0.2, inplace=True)]
    for before, after in itertools.pairwise(widths):
        stride = 2 if after < widths[-1] else 1
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=instance_norm)]
        layers += [nn.InstanceNorm2d(after) if instance_norm else nn.BatchNorm2d(after)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))


def initialise(network: nn.Module) -> None:
    """Initialize kernels from N(0, 0.02) and gains from N(1, 0.02)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def _halve(before, after, bias=True):
    return nn.Conv2d(before, after, 4, 2, 1, bias=bias)


def _double(before, after, bias=True):
    return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
