"""PyTorch steps of `gan_step.py`."""

import contextlib
import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import torch
import torch_networks
from steps import (
    BETA_1,
    BETA_2,
    CYCLE_WEIGHT,
    D_WEIGHT,
    IDENTITY_WEIGHT,
    L1_WEIGHT,
    LATENT_SIZE,
    LEARNING_RATE,
    POOL_SIZE,
    Settings,
)
from torch import Tensor, nn
from turns import Built, Step


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a PyTorch variant.

    Attributes:
        channels_last: Memory layout of maps and kernels.
        compiled: Through `torch.compile`.
        freeze: Leave out, in the generator's update, the gradients of the discriminator's weights.
        fused: Adam as one kernel a tensor instead of the default of this device.
    """

    channels_last: bool = False
    compiled: bool = False
    freeze: bool = False
    fused: bool = False


class Setup:
    """Networks of a game with the options of a variant, and their optimizers."""

    def __init__(self, networks: list[nn.Module], settings: Settings, options: Options) -> None:
        self.batch, self.image_size = settings.batch, settings.image_size
        self.options = options
        self.layout = torch.channels_last if options.channels_last else torch.contiguous_format
        for network in networks:
            torch_networks.initialise(network)
            network.to(memory_format=self.layout)
        self.networks = networks
        self.callables: list[Callable[[Tensor], Tensor]] = list(networks)
        if options.compiled:
            # Inductor of PyTorch 2.13 fails on DCGAN's discriminator with dynamic shapes.
            self.callables = [torch.compile(network, dynamic=False) for network in networks]

    def counts(self) -> tuple[int, ...]:
        """Parameters of each network."""
        return tuple(sum(p.numel() for p in network.parameters()) for network in self.networks)

    def adam(self, networks: list[nn.Module]) -> torch.optim.Optimizer:
        """One optimizer for all of these networks."""
        parameters = itertools.chain(*(network.parameters() for network in networks))
        fused = self.options.fused or None
        return torch.optim.Adam(parameters, LEARNING_RATE, (BETA_1, BETA_2), fused=fused)

    def images(self) -> Tensor:
        """A batch of noise in [-1, 1]."""
        noise = torch.rand(self.batch, 3, self.image_size, self.image_size) * 2 - 1
        return noise.contiguous(memory_format=self.layout)

    @contextlib.contextmanager
    def spared(self, networks: Sequence[nn.Module]) -> Iterator[None]:
        """Within it the variants with `freeze` leave out the gradients of these weights."""
        frozen = networks if self.options.freeze else ()
        for network in frozen:
            network.requires_grad_(False)
        yield
        for network in frozen:
            network.requires_grad_(True)


class Pool:
    """Pool of earlier generated images: half of the time one of them replaces a new one."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """The same number of images, new or earlier ones."""
        shown = []
        for image in images.split(1):
            if len(self.images) < POOL_SIZE:
                self.images.append(image)
            elif random.random() > 0.5:
                place = random.randrange(POOL_SIZE)
                self.images[place], image = image, self.images[place]
            shown.append(image)
        return torch.cat(shown)


def build(settings: Settings, options: Options) -> Built:
    """The step of the game that the settings name."""
    torch.set_num_threads(settings.threads)
    if settings.game == "dcgan":
        setup = Setup(torch_networks.dcgan(settings.image_size), settings, options)
        return dcgan_step(setup), setup.counts()
    if settings.game == "pix2pix":
        setup = Setup(torch_networks.pix2pix(), settings, options)
        return pix2pix_step(setup), setup.counts()
    setup = Setup(torch_networks.cyclegan(), settings, options)
    return cyclegan_step(setup), setup.counts()


def dcgan_step(setup: Setup) -> Step:
    """Step of DCGAN: D on real and on generated images, then G through the updated D."""
    generator, discriminator = setup.networks
    g, d = setup.callables
    g_optimizer, d_optimizer = setup.adam([generator]), setup.adam([discriminator])
    cross_entropy = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(setup.batch), torch.zeros(setup.batch)
    real = setup.images()

    def step() -> None:
        fake = g(torch.randn(setup.batch, LATENT_SIZE, 1, 1))
        d_optimizer.zero_grad(set_to_none=True)
        d_loss = cross_entropy(d(real), ones) + cross_entropy(d(fake.detach()), zeros)
        d_loss.backward()
        d_optimizer.step()

        with setup.spared([discriminator]):
            g_optimizer.zero_grad(set_to_none=True)
            g_loss = cross_entropy(d(fake), ones)
            g_loss.backward()
            g_optimizer.step()
        d_loss.item(), g_loss.item()

    return step


def pix2pix_step(setup: Setup) -> Step:
    """Step of pix2pix: D on the real and the translated pair, then G through the updated D."""
    generator, discriminator = setup.networks
    g, d = setup.callables
    g_optimizer, d_optimizer = setup.adam([generator]), setup.adam([discriminator])
    cross_entropy, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    image, target = setup.images(), setup.images()

    def logits_of(images: Tensor) -> Tensor:
        return d(torch.cat([image, images], 1))

    def step() -> None:
        fake = g(image)
        d_optimizer.zero_grad(set_to_none=True)
        on_real, on_fake = logits_of(target), logits_of(fake.detach())
        d_loss = D_WEIGHT * (
            cross_entropy(on_real, torch.ones_like(on_real))
            + cross_entropy(on_fake, torch.zeros_like(on_fake))
        )
        d_loss.backward()
        d_optimizer.step()

        with setup.spared([discriminator]):
            g_optimizer.zero_grad(set_to_none=True)
            on_fake = logits_of(fake)
            adversarial = cross_entropy(on_fake, torch.ones_like(on_fake))
            g_loss = adversarial + L1_WEIGHT * l1(fake, target)
            g_loss.backward()
            g_optimizer.step()
        d_loss.item(), g_loss.item()

    return step


def cyclegan_step(setup: Setup) -> Step:
    """Step of CycleGAN: both generators, then both discriminators on pooled images."""
    generators, discriminators = setup.networks[:2], setup.networks[2:]
    forth, back, d_forth, d_back = setup.callables
    g_optimizer, d_optimizer = setup.adam(generators), setup.adam(discriminators)
    squares, l1 = nn.MSELoss(), nn.L1Loss()
    image, other = setup.images(), setup.images()
    image_pool, other_pool = Pool(), Pool()

    def distance(logits: Tensor, target: float) -> Tensor:
        return squares(logits, torch.full_like(logits, target))

    def step() -> None:
        fake_other, fake_image = forth(image), back(other)
        cycled_image, cycled_other = back(fake_other), forth(fake_image)
        with setup.spared(discriminators):
            g_optimizer.zero_grad(set_to_none=True)
            g_loss = distance(d_forth(fake_other), 1.0) + distance(d_back(fake_image), 1.0)
            g_loss = g_loss + CYCLE_WEIGHT * (l1(cycled_image, image) + l1(cycled_other, other))
            same = l1(back(image), image) + l1(forth(other), other)
            g_loss = g_loss + CYCLE_WEIGHT * IDENTITY_WEIGHT * same
            g_loss.backward()
            g_optimizer.step()

        d_optimizer.zero_grad(set_to_none=True)
        d_losses = []
        for d, real, fake, pool in (
            (d_forth, other, fake_other, other_pool),
            (d_back, image, fake_image, image_pool),
        ):
            shown = pool.query(fake.detach())
            d_loss = D_WEIGHT * (distance(d(real), 1.0) + distance(d(shown), 0.0))
            d_loss.backward()
            d_losses.append(d_loss)
        d_optimizer.step()
        g_loss.item(), sum(d_losses).item()

    return step
