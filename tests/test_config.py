import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import config, presets
from keras_arch.errors import ArgumentError, ConfigError

NAMES = (
    "resnet20-digits",
    "resnet20-cifar10",
    "plain20-cifar10",
    "resnet56-cifar10",
    "plain56-cifar10",
    "dcgan-digits",
    "dcgan-fashion_mnist",
)


def test_the_shipped_ones_are_there_and_named_as_their_files():
    assert set(NAMES) <= set(presets.names())
    for name in presets.names():
        assert config.load(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_dump_reads_back(name, tmp_path):
    checked = config.load(name)
    (tmp_path / "c.yaml").write_text(config.dump(checked))
    assert config.load(tmp_path / "c.yaml") == checked


def test_cifar_recipe_is_the_papers():
    """He et al. 2015, section 4.2."""
    checked = config.load("resnet20-cifar10")
    recipe = checked.recipe
    assert recipe.batch_size == 128
    assert recipe.optimizer == config.SGD(
        name="sgd",
        momentum=0.9,
        learning_rate=config.Schedule(boundaries=[32_000, 48_000], values=[0.1, 0.01, 0.001]),
    )
    assert recipe.weight_decay == 1e-4
    # 50,000 images: 64k iterations, rounded up to a whole epoch.
    steps = 50_000 // 128
    assert (recipe.epochs - 1) * steps < 64_000 <= recipe.epochs * steps + steps
    assert checked.data.augment == ("crop:4", "flip")
    assert checked.preprocessing.mean == "per_pixel"
    assert checked.expected["accuracy"] == pytest.approx(1 - 0.0875)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.epocs=3", ["recipe.epocs", "3", "epochs"]),
        ("recipee.epochs=3", ["recipee", "recipe"]),
        ("recipe.epochs=three", ["recipe.epochs", "'three'", "integer"]),
        ("recipe.epochs=0", ["recipe.epochs", "0"]),
        ("recipe.optimizer.name=sdg", ["recipe.optimizer.name", "'sdg'", "'sgd'", "'adam'"]),
        ("recipe.optimizer.momntum=1", ["recipe.optimizer.momntum", "momentum"]),
        ("recipe.optimizer.momentum=1.5", ["recipe.optimizer.momentum", "1.5"]),
        ("recipe.optimizer.learning_rate=-1", ["recipe.optimizer.learning_rate", "-1"]),
        ("recipe.optimizer.learning_rate.values=[1]", ["learning_rate", "boundaries"]),
        ("recipe.precision=fp8", ["recipe.precision", "'fp8'", "mixed_bfloat16"]),
        ("task=segmentation", ["task", "'segmentation'", "image-classification"]),
        ("preprocessing.size=[0,3]", ["preprocessing.size", "0"]),
        ("preprocessing.resize=cubic", ["preprocessing.resize", "'cubic'", "bicubic"]),
        ("preprocessing.mean=[1,2]", ["mean", "(2,)"]),
        ("data=digits", ["data", "'digits'"]),
        ("nonsense", ["key=value", "'nonsense'"]),
        ("name.more=1", ["name"]),
        ("recipe.epochs=[1", ["YAML"]),
    ],
)
def test_mistakes_are_told_in_one_line(override, words):
    with pytest.raises(ConfigError) as caught:
        config.load("resnet20-cifar10", [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing_key():
    content = presets.read("resnet20-digits")
    del content["data"]
    with pytest.raises(ConfigError, match="'data' is missing"):
        config.parse(content)


def test_unknown_name_offers_close_ones():
    with pytest.raises(ArgumentError, match="resnet20-digits"):
        config.load("resnet20-digit")


@pytest.mark.parametrize("text", ["a: [1", "just text", "- 1\n- 2", ""])
def test_files_that_are_no_config(text, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        config.load(path)


def test_missing_file():
    with pytest.raises(ArgumentError, match=r"missing\.yaml: No such file"):
        config.load("missing.yaml")


def test_yaml_cannot_make_objects(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not YAML"):
        config.load(path)


SECTIONS = {"data": "source", "recipe": "batch_size", "preprocessing": "scale"}


@given(
    section=st.sampled_from(sorted(SECTIONS)),
    value=st.one_of(
        st.none(), st.text(), st.integers(-5, 0), st.lists(st.integers()), st.booleans()
    ),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_gives_a_config_or_one_line(section, value):
    content = presets.read("resnet20-digits")
    content[section] = content[section] | {SECTIONS[section]: value}
    message = None
    try:
        checked = config.parse(content)
    except ConfigError as error:
        message = str(error)
    if message is None:
        assert config.parse(yaml.safe_load(config.dump(checked))) == checked
    else:
        assert "\n" not in message
        assert SECTIONS[section] in message
