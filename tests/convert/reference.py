"""PyTorch's layers written out in NumPy, for maps (batch, channels, height, width).

From the definitions in PyTorch's documentation; slow, and only for the sizes of a test.
"""

import numpy as np


def convolution(x, weight, bias=None, stride=1, padding=0, mode="constant"):
    sides = (padding, padding)
    x = np.pad(x, ((0, 0), (0, 0), sides, sides), mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    out = np.einsum("bchwij,ocij->bohw", windows[:, :, ::stride, ::stride], weight)
    return out if bias is None else out + bias[:, None, None]


def transposed_convolution(x, weight, bias, stride, padding, output_padding):
    """Every pixel adds its kernel to the output, `stride` pixels apart; then the border goes."""
    kernel = weight.shape[2]
    batch, _, height, width = x.shape
    full = np.zeros(
        (
            batch,
            weight.shape[1],
            (height - 1) * stride + kernel + output_padding,
            (width - 1) * stride + kernel + output_padding,
        )
    )
    for i in range(height):
        for j in range(width):
            patch = np.einsum("bc,coij->boij", x[:, :, i, j], weight)
            full[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel] += patch
    inner = full[:, :, padding : full.shape[2] - padding, padding : full.shape[3] - padding]
    return inner + bias[:, None, None]


def instance_norm(x):
    mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def batch_norm(x, state, module):
    gain, bias, mean, variance = (
        state[f"{module}.{part}"][:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + bias


def relu(x, slope=0.0):
    return np.where(x > 0, x, slope * x)


def cyclegan_generator(state, x, blocks, second=5):
    """resnet_9blocks and resnet_6blocks with instance norm."""

    def parts(module):
        return state[f"{module}.weight"], state[f"{module}.bias"]

    x = relu(instance_norm(convolution(x, *parts("model.1"), padding=3, mode="reflect")))
    for module in ("model.4", "model.7"):
        x = relu(instance_norm(convolution(x, *parts(module), stride=2, padding=1)))
    for block in range(10, 10 + blocks):
        module = f"model.{block}.conv_block"
        y = convolution(x, *parts(f"{module}.1"), padding=1, mode="reflect")
        y = relu(instance_norm(y))
        y = convolution(y, *parts(f"{module}.{second}"), padding=1, mode="reflect")
        x = x + instance_norm(y)
    for number in (10 + blocks, 13 + blocks):
        x = transposed_convolution(x, *parts(f"model.{number}"), 2, 1, 1)
        x = relu(instance_norm(x))
    return np.tanh(convolution(x, *parts(f"model.{17 + blocks}"), padding=3, mode="reflect"))


def patch_discriminator(state, x, layers):
    """NLayerDiscriminator: batch norm where the state has it, else instance norm."""
    last = 3 * layers + 2
    for number in (0, *range(2, last, 3), last):
        stride = 2 if number < last - 3 else 1
        module = f"model.{number}"
        x = convolution(x, state[f"{module}.weight"], state.get(f"{module}.bias"), stride, 1)
        if 0 < number < last:
            norm = f"model.{number + 1}"
            x = batch_norm(x, state, norm) if f"{norm}.weight" in state else instance_norm(x)
        x = x if number == last else relu(x, 0.2)
    return x


def pixel_discriminator(state, x):
    x = relu(convolution(x, state["net.0.weight"], state["net.0.bias"]), 0.2)
    x = convolution(x, state["net.2.weight"], state.get("net.2.bias"))
    x = batch_norm(x, state, "net.3") if "net.3.weight" in state else instance_norm(x)
    return convolution(relu(x, 0.2), state["net.5.weight"], state.get("net.5.bias"))


def max_pool(x, size, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max((-2, -1))


def fast_convolution(x, weight, bias, stride=1, padding=0):
    """As `convolution`, by one matrix product."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    return (
        np.moveaxis(np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))), -1, 1)
        + (bias[:, None, None])
    )


def dense(x, state, *modules):
    """Linear layers on the flattened map, ReLU between them."""
    x = x.reshape(len(x), -1)
    for number, module in enumerate(modules):
        x = relu(x) if number else x
        x = x @ state[f"{module}.weight"].T + state[f"{module}.bias"]
    return x


def vgg(state, x, column, norm):
    """torchvision's in `eval()`, without the pooling of other maps to 7x7."""
    number = 0
    for width in column:
        if width == "M":
            x, number = max_pool(x, 2, 2), number + 1
            continue
        module = f"features.{number}"
        x = fast_convolution(x, state[f"{module}.weight"], state[f"{module}.bias"], padding=1)
        if norm:
            x, number = batch_norm(x, state, f"features.{number + 1}"), number + 1
        x, number = relu(x), number + 2
    return dense(x, state, "classifier.0", "classifier.3", "classifier.6")


def alexnet(state, x):
    """torchvision's in `eval()`, for 224x224."""
    for number, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        parts = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
        x = relu(fast_convolution(x, *parts, stride, padding))
        if number in (0, 3, 10):
            x = max_pool(x, 3, 2)
    return dense(x, state, "classifier.1", "classifier.4", "classifier.6")
