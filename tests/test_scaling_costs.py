"""Exchanges of a training step, counted in its graph, against the layers of the network."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def costs():
    spec = importlib.util.spec_from_file_location(
        "scaling_costs", ROOT / "benchmarks" / "scaling_costs.py"
    )
    module = importlib.util.module_from_spec(spec)
    # Data classes look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


# He et al. 2015, section 4.2: 19 layers with batch norm, of 16, 32 and 64 channels.
NORMS = [16] * 7 + [32] * 6 + [64] * 6


@pytest.mark.slow
def test_a_step_of_resnet20(costs, two_replicas):
    cost = costs.cost_of("resnet20-digits", two_replicas)
    assert (cost.batch, cost.parameters) == (64, 269_434)
    # The gradients in one; of a norm sums, sums of squares and a count in one, as in the backward
    # pass.
    assert cost.exchanges == 1 + 2 * len(NORMS)
    assert cost.exchanged == 4 * (269_434 + 2 * (2 * sum(NORMS) + len(NORMS)))
    # Multiplications of the forward pass at 16x16, twice as many again in the backward pass, but
    # for the image, which needs no gradient.
    pixels, multiplications = 256, 0
    for channels, inputs, layers in ((16, 16, 6), (32, 16, 6), (64, 32, 6)):
        area = pixels * 16 // channels * 16 // channels
        multiplications += area * 9 * channels * (inputs + (layers - 1) * channels)
    first = pixels * 9 * 16
    operations = 64 * 2 * (3 * (multiplications + 640) + 2 * first)
    # Additions of biases, norms and the loss come on top.
    assert cost.operations == pytest.approx(operations, rel=0.06)
    row = costs.row("resnet20-digits", cost)
    assert row in (ROOT / "docs" / "scaling.md").read_text().splitlines()


def test_the_bandwidth_keeps_the_efficiency(costs):
    cost = costs.Cost(1, 1, exchanges=10, exchanged=8_000_000, operations=10**12)
    # At 10 TFLOP/s a step of 100 ms.
    for replicas, latency in ((8, 0), (64, 100), (256, 1000)):
        bandwidth = cost.bandwidth(replicas, 10, latency)
        exchanging = 10 * latency * 1e-6 + 2 * (replicas - 1) / replicas * 8e6 / bandwidth
        assert 0.1 / (0.1 + exchanging) == pytest.approx(0.9)
    assert cost.bandwidth(8, 10, 2000) == math.inf
    assert costs.row("x", cost, latency=2000).endswith("| – | – | – |")


def test_the_table_has_every_config(costs):
    from keras_arch import presets

    page = (ROOT / "docs" / "scaling.md").read_text()
    table = page.partition(costs.BEGIN)[2].partition(costs.END)[0]
    rows = [line.split("|")[1].strip(" `") for line in table.splitlines() if "`" in line]
    assert rows == list(presets.names())
