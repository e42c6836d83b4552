"""Keras steps of `gan_step.py`: that of `keras_arch`, and a step as in common tutorials."""

from steps import BETA_1, LATENT_SIZE, LEARNING_RATE, RESIDUAL_BLOCKS, Settings
from turns import Built


def keras_arch_step(settings: Settings) -> Built:
    """Step of the game's trainer as in `fit`."""
    trainer, images = {"dcgan": _dcgan, "pix2pix": _pix2pix, "cyclegan": _cyclegan}[settings.game](
        settings
    )
    trainer.compile(g_optimizer=_adam(), d_optimizer=_adam())
    batches = iter(_same_batch(settings, images))
    trainer.make_train_function()

    def step() -> None:
        logs = trainer.train_function(batches)
        float(logs["d_loss"])  # The step is finished when its logs are available.

    networks = [network for player in trainer.players() for network in player.networks]
    # The generators first, whatever the order of updates.
    networks.sort(key=lambda network: "discriminator" in network.name)
    return step, _counts(networks)


def two_forwards_step(settings: Settings) -> Built:
    """DCGAN step as in common tutorials: each update generates its own batch."""
    import tensorflow as tf

    trainer, images = _dcgan(settings)
    generator, discriminator = trainer.generator, trainer.discriminator
    g_optimizer, d_optimizer = _adam(), _adam()
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)

    def cross_entropy(logits, target):
        labels = tf.fill(tf.shape(logits), target)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        return tf.reduce_mean(losses)

    def latent():
        return tf.random.normal((settings.batch, LATENT_SIZE))

    @tf.function
    def train(real):
        with tf.GradientTape() as tape:
            fake = generator(latent(), training=True)
            d_loss = cross_entropy(discriminator(real, training=True), 1.0)
            d_loss += cross_entropy(discriminator(fake, training=True), 0.0)
        weights = discriminator.trainable_variables
        d_optimizer.apply(tape.gradient(d_loss, weights), weights)
        with tf.GradientTape() as tape:
            fake = generator(latent(), training=True)
            g_loss = cross_entropy(discriminator(fake, training=True), 1.0)
        weights = generator.trainable_variables
        g_optimizer.apply(tape.gradient(g_loss, weights), weights)
        return d_loss, g_loss

    batches = iter(_same_batch(settings, images))

    def step() -> None:
        d_loss, g_loss = train(next(batches))
        float(d_loss), float(g_loss)

    return step, _counts((generator, discriminator))


def _dcgan(settings):
    """The trainer of a game, and how many images are in one of its batches."""
    _set_threads(settings)
    from keras_arch import models, trainers

    shape = (settings.image_size, settings.image_size, 3)
    generator = models.DCGANGenerator("pytorch", image_shape=shape, latent_size=LATENT_SIZE)
    discriminator = models.DCGANDiscriminator("pytorch", input_shape=shape)
    return trainers.GAN(generator, discriminator, latent="normal"), 1


def _pix2pix(settings):
    _set_threads(settings)
    from keras_arch import models, trainers

    shape = (settings.image_size, settings.image_size, 3)
    return trainers.Pix2Pix(
        models.Pix2PixGenerator("unet_256", image_shape=shape),
        models.PatchDiscriminator(70, input_shape=shape),
    ), 2


def _cyclegan(settings):
    _set_threads(settings)
    from keras_arch import models, trainers

    shape = (settings.image_size, settings.image_size, 3)
    generators = [models.CycleGANGenerator(RESIDUAL_BLOCKS, image_shape=shape) for _ in range(2)]
    discriminators = [
        models.PatchDiscriminator(70, input_shape=shape, target_channels=None, norm="instance")
        for _ in range(2)
    ]
    return trainers.CycleGAN(*generators, *discriminators), 2


def _set_threads(settings):
    import tensorflow as tf

    from keras_arch._tensorflow.memory import keep_freed_memory

    # As `keras_arch.train` does.
    keep_freed_memory()
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)


def _adam():
    import keras

    return keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1)


def _counts(networks):
    from keras_arch.layers import trainable_parameters

    return tuple(trainable_parameters(network) for network in networks)


def _same_batch(settings, images):
    """The same batch of noise in [-1, 1] in every step: the data pipeline is not timed here."""
    import tensorflow as tf

    shape = (settings.batch, settings.image_size, settings.image_size, 3)
    parts = tuple(tf.random.uniform(shape, -1.0, 1.0) for _ in range(images))
    return tf.data.Dataset.from_tensors(parts if images > 1 else parts[0]).cache().repeat()
