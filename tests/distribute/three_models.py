"""A small classifier, segmentation network and GAN, trained in a strategy by `model.fit`.

As a program it trains those that are named on this host of a cluster, and writes what came out to
a file.
"""

import sys

import numpy as np

from keras_arch import distribute

STEPS, BATCH = 4, 8


def results(strategy, names):
    """Weights, logs, evaluation and predictions of the models by name."""
    import keras

    found = {}
    for model in names:
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        train = {"classifier": classifier, "segmenter": segmenter, "gan": gan}[model]
        for name, value in train(strategy).items():
            found[f"{model}/{name}"] = np.asarray(value)
    return found


def classifier(strategy):
    import keras

    from keras_arch import data
    from keras_arch.preprocessing import Preprocessing

    to_input = Preprocessing((8, 8), 1, scale=1 / 16)
    share = distribute.share(strategy)
    with strategy.scope():
        image = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(6, 3, strides=2)(image)
        x = keras.layers.BatchNormalization(synchronized=True)(x)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
        model = keras.Model(image, keras.layers.Dense(10)(x))
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    batches = data.train_batches(
        data.load("digits", "train[:60]"),
        to_input,
        BATCH,
        seed=2,
        augment=["crop:1", "mixup:0.4"],
        classes=10,
        share=share,
    )
    # 13 images: the last batch leaves one host of two without an image.
    test = data.load("digits", "test[:13]")
    validation = data.eval_batches(test, to_input, 4, classes=10, share=share)
    steps = int(validation.cardinality())
    history = model.fit(
        distribute.on_replicas(strategy, batches.dataset),
        epochs=2,
        steps_per_epoch=STEPS,
        validation_data=distribute.on_replicas(strategy, validation),
        validation_steps=steps,
        verbose=0,
    ).history
    # A user's own arrays, which Keras divides.
    images, labels = next(iter(data.eval_batches(test, to_input, 13, classes=10)))
    arrays = np.asarray(images), np.asarray(labels)
    scores = model.evaluate(*arrays, batch_size=4, verbose=0)
    one = model.evaluate(arrays[0][:1], arrays[1][:1], verbose=0)
    outputs = model.predict(arrays[0], batch_size=4, verbose=0)
    return {"scores": scores, "one": one, "outputs": outputs} | state(model, history)


def segmenter(strategy):
    import keras

    from keras_arch import data, losses, metrics, models
    from keras_arch.preprocessing import Preprocessing

    to_input = Preprocessing((32, 32), 1, scale=1 / 255)
    share = distribute.share(strategy)
    with strategy.scope():
        model = models.UNet(
            input_shape=(32, 32, 1),
            classes=2,
            depth=1,
            filters=4,
            padding="same",
            dropout=0.0,
            classifier_activation=None,
        )
        loss = losses.pixel_loss("cross_entropy", total=distribute.sum_over_replicas)
        model.compile(keras.optimizers.SGD(0.05), loss, metrics=[metrics.PixelAccuracy(2)])
    cells = data.load("cells", "train[:5]")
    batches = data.segmentation_train_batches(
        cells, to_input, BATCH, seed=2, augment=["elastic:3"], crops_per_image=7, share=share
    )
    validation = data.segmentation_eval_batches(
        data.load("cells", "test[:1]"),
        to_input,
        6,
        replicas=strategy.num_replicas_in_sync,
        share=share,
    )
    history = model.fit(
        distribute.on_replicas(strategy, batches.dataset),
        steps_per_epoch=STEPS,
        validation_data=distribute.on_replicas(strategy, validation),
        validation_steps=int(validation.cardinality()),
        verbose=0,
    ).history
    return state(model, history)


def gan(strategy):
    import keras

    from keras_arch import data, models, trainers
    from keras_arch.preprocessing import Preprocessing

    to_tanh = Preprocessing((16, 16), 1, scale=1 / 127.5, mean=1.0)
    with strategy.scope():
        trainer = trainers.GAN(
            models.DCGANGenerator(image_shape=(16, 16, 1), filters=4, synchronized=True),
            models.DCGANDiscriminator(input_shape=(16, 16, 1), filters=4, norm=None),
            seed=3,
        )
        sgd = keras.optimizers.SGD
        trainer.compile(sgd(0.02), sgd(0.02), loss="hinge+gp", diff_augment="color,translation")
    digits = data.load("digits", "train[:40]").map(lambda image, label: image)
    batches = data.train_batches(digits, to_tanh, BATCH, seed=2, share=distribute.share(strategy))
    history = trainer.fit(
        distribute.on_replicas(strategy, batches.dataset), steps_per_epoch=STEPS, verbose=0
    ).history
    test = data.load("digits", "test[:9]").map(lambda image, label: image)
    losses = trainer.evaluate(data.eval_batches(test, to_tanh, 4), verbose=0)
    return {"losses": losses} | state(trainer, history)


def state(model, history):
    """All weights, and the logs."""
    import keras

    weights = [np.asarray(keras.ops.convert_to_tensor(weight)) for weight in model.weights]
    found = {f"weight{number}": weight for number, weight in enumerate(weights)}
    return found | {f"log_{name}": values for name, values in history.items()}


def check_stock_reduction(strategy):
    """Fails when Keras needs the repair of its logs over several hosts no more."""
    import tensorflow as tf
    from keras.src.backend.tensorflow import trainer

    number = {"loss": tf.constant(float(distribute.read_tf_config().rank))}
    try:
        trainer.reduce_per_replica.__wrapped__(number, strategy, "auto")
    except ValueError:
        mean = trainer.reduce_per_replica(number, strategy, "auto")
        assert float(mean["loss"]) == 0.5
        return
    raise AssertionError("Keras averages logs over hosts by itself: take the repair out")


if __name__ == "__main__":
    STRATEGY = distribute.strategy("auto")
    check_stock_reduction(STRATEGY)
    FILE, *NAMES = sys.argv[1:]
    np.savez(FILE.format(distribute.read_tf_config().rank), **results(STRATEGY, NAMES))
