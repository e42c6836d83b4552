import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_arch import config, presets
from keras_arch.errors import ArgumentError, ConfigError

NAMES = (
    "resnet20-digits",
    "resnet20-cifar10-paper",
    "plain20-cifar10-paper",
    "resnet56-cifar10",
    "plain56-cifar10",
    "dcgan-digits",
    "dcgan-fashion_mnist",
    "gan-mnist",
    "cgan-mnist",
    "cdcgan-fashion_mnist",
    "lapgan-cifar10",
    "pix2pix-facades",
    "cyclegan-facades",
)


def test_the_shipped_ones_are_there_and_named_as_their_files():
    assert set(NAMES) <= set(presets.names())
    for name in presets.names():
        assert config.load(name).name == name


@pytest.mark.parametrize("name", presets.names())
def test_dump_reads_back(name, tmp_path):
    checked = config.load(name)
    (tmp_path / "c.yaml").write_text(config.dump(checked))
    assert config.load(tmp_path / "c.yaml") == checked


def test_cifar_recipe_is_the_papers():
    """He et al. 2015, section 4.2."""
    checked = config.load("resnet20-cifar10-paper")
    recipe = checked.recipe
    assert recipe.batch_size == 128
    assert recipe.optimizer == config.SGD(
        name="sgd",
        momentum=0.9,
        learning_rate=config.PiecewiseConstant(
            boundaries=[32_000, 48_000], values=[0.1, 0.01, 0.001]
        ),
    )
    assert recipe.weight_decay == 1e-4
    # 50,000 images: 64k iterations, rounded up to a whole epoch.
    steps = 50_000 // 128
    assert (recipe.epochs - 1) * steps < 64_000 <= recipe.epochs * steps + steps
    assert checked.data.augment == ("crop:4", "flip")
    assert checked.preprocessing.mean == "per_pixel"
    assert checked.expected["accuracy"] == pytest.approx(1 - 0.0875)


def assert_told_in_one_line(name, override, words):
    """Loading the preset with the override fails with a line that holds all words."""
    with pytest.raises(ConfigError) as caught:
        config.load(name, [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


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
        ("preprocessing.crop=1.5", ["preprocessing.crop", "1.5"]),
        ("preprocessing.mean=[1,2]", ["mean", "(2,)"]),
        ("data=digits", ["data", "'digits'"]),
        ("nonsense", ["key=value", "'nonsense'"]),
        ("name.more=1", ["name"]),
        ("recipe.epochs=[1", ["YAML"]),
        ("recipe.checkpoint=best", ["recipe.checkpoint needs data.validation", "'best'"]),
        ("recipe.patience=3", ["recipe.patience needs data.validation", "3"]),
        ("recipe.label_smoothing=1", ["recipe.label_smoothing", "less than 1"]),
        ("recipe.synchronized=maybe", ["recipe.synchronized", "'maybe'"]),
        ("data.augment=[flip, randaugment:2,9]", ["data.augment", "write randaugment:2:9"]),
        ("recipe.weight_decay_on=norms", ["weight_decay_on", "'norms'", "'kernels'"]),
        ("recipe.optimizer.weight_decay=-1", ["optimizer.weight_decay", "-1"]),
        (
            "recipe.optimizer.learning_rate={name: cosine, peek: 1}",
            ["learning_rate.peek", "did you mean peak"],
        ),
        ("recipe.optimizer.learning_rate={peak: 1}", ["learning_rate.name", "'cosine'", "None"]),
        ("recipe.keep=best", ["recipe.keep", "its name is checkpoint now"]),
        (
            "recipe.optimizer.learning_rate={name: cosine, peak: 1, floor: 2}",
            ["at most peak, 1.0, got 2.0"],
        ),
        (
            "recipe.optimizer.learning_rate={name: cosine, peak: 1, warmup_steps: 3, "
            "warmup_epochs: 2}",
            ["leave one out", "3"],
        ),
    ],
)
def test_mistakes_get_one_line(override, words):
    assert_told_in_one_line("resnet20-cifar10-paper", override, words)


ADAM = {"name": "adam", "learning_rate": 0.01}
COSINE = {"name": "cosine", "peak": 0.1}
LINEAR = {"name": "constant_then_linear", "initial": 0.1}


def test_recipes_of_the_first_gans_are_the_papers():
    """Goodfellow et al. 2014's own mnist.yaml: images 0 to 50,000 in batches of 100, momentum
    rising over 250 epochs, a cost (`AdversaryCost2`) that halves the discriminator's sum, and a
    last bias at the mean image (`init_bias`). The average over the generator's weights is ours."""
    checked = config.load("gan-mnist")
    recipe = checked.recipe
    assert (recipe.batch_size, recipe.d_weight) == (100, 0.5)
    assert checked.data.train == config.load("cgan-mnist").data.train == "train[:50000]"
    assert config.load("cgan-mnist").recipe.d_weight == 0.5
    assert recipe.output_bias == config.load("cgan-mnist").recipe.output_bias == "mean_image"
    assert recipe.g_optimizer.model_copy(update={"average": None}) == recipe.d_optimizer
    assert recipe.d_optimizer == config.SGD(
        name="sgd",
        learning_rate=config.FlooredDecay(initial=0.1, factor=1.000004, floor=1e-6),
        momentum=config.LinearRamp(start=0.5, end=0.7, steps=250 * 500),
    )
    # Mirza and Osindero 2014, section 4.1.
    assert config.load("cgan-mnist").recipe.g_optimizer.learning_rate.factor == 1.00004


@pytest.mark.parametrize("name", ["pix2pix-facades", "cyclegan-facades"])
def test_recipes_of_the_translators_are_the_papers(name):
    """Isola et al. 2017, section 3.3; Zhu et al. 2017, section 4: 400 images, batches of one."""
    checked = config.load(name)
    rate = config.ConstantThenLinear(initial=2e-4, constant_steps=100 * 400, decay_steps=100 * 400)
    for optimizer in (checked.recipe.g_optimizer, checked.recipe.d_optimizer):
        assert optimizer == config.Adam(name="adam", learning_rate=rate, beta_1=0.5)
    assert (checked.recipe.epochs, checked.recipe.batch_size) == (200, 1)
    weights = {"l1_weight": 100, "cycle_weight": 10, "identity_weight": 0.5, "pool_size": 50}
    for key, value in weights.items():
        assert getattr(checked.recipe, key, value) == value


@pytest.mark.parametrize(
    ("rate", "kind"),
    [
        (0.1, float),
        ("1e-4", float),
        ({"name": "floored_decay", "initial": 0.1, "factor": 1.1}, config.FlooredDecay),
        (LINEAR | {"constant_steps": 0, "decay_steps": 5}, config.ConstantThenLinear),
        (
            {"name": "piecewise_constant", "boundaries": [5], "values": [1, 0.1]},
            config.PiecewiseConstant,
        ),
        (COSINE, config.Cosine),
        (COSINE | {"warmup_epochs": 5, "floor": 0.01}, config.Cosine),
        (COSINE | {"decay_steps": 5}, config.Cosine),
    ],
)
def test_kinds_of_learning_rates(rate, kind):
    content = presets.read("cgan-mnist")
    content["recipe"]["g_optimizer"] = ADAM | {"learning_rate": rate, "average": 0.99}
    checked = config.parse(content)
    assert type(checked.recipe.g_optimizer.learning_rate) is kind
    assert checked.recipe.g_optimizer.average == 0.99
    assert config.parse(yaml.safe_load(config.dump(checked))) == checked


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        (
            "gan-mnist",
            "recipe.g_optimizer.learning_rate.factr=1.2",
            ["rate.factr", "1.2", "factor"],
        ),
        (
            "gan-mnist",
            "recipe.g_optimizer.learning_rate={name: floored_decay, initial: 0.1, factr: 1.1}",
            ["recipe.g_optimizer.learning_rate.factr", "1.1", "factor"],
        ),
        (
            "gan-mnist",
            "recipe.g_optimizer.learning_rate={name: constant_then_linear, initial: 0.1, "
            "constant_step: 3, decay_steps: 3}",
            ["recipe.g_optimizer.learning_rate.constant_step", "3", "constant_steps"],
        ),
        (
            "gan-mnist",
            "recipe.g_optimizer.learning_rate={name: constant_then_linear, initial: 0.1, "
            "decay_steps: 3}",
            ["'recipe.g_optimizer.learning_rate.constant_steps' is missing"],
        ),
        ("gan-mnist", "recipe.g_optimizer.learning_rate.factor=0.9", ["rate.factor", "1, got 0.9"]),
        ("gan-mnist", "recipe.g_optimizer.learning_rate.floor=1", ["floor", "0.1", "1.0"]),
        ("gan-mnist", "recipe.g_optimizer.learning_rate=.inf", ["learning_rate", "finite", "inf"]),
        ("gan-mnist", "recipe.g_optimizer.learning_rate=[0.1]", ["learning_rate", "[0.1]"]),
        ("gan-mnist", "recipe.g_optimizer.momentum.stepz=3", ["momentum.stepz", "3", "steps"]),
        ("gan-mnist", "recipe.g_optimizer.momentum.steps=0", ["momentum.steps", "0"]),
        ("gan-mnist", "recipe.g_optimizer.momentum=1.5", ["g_optimizer.momentum:", "1.5"]),
        ("gan-mnist", "recipe.g_optimizer.momentum=fast", ["g_optimizer.momentum:", "'fast'"]),
        ("gan-mnist", "recipe.g_optimizer.average=1", ["g_optimizer.average", "less than 1"]),
        ("gan-mnist", "recipe.g_optimizer.avrage=1", ["g_optimizer.avrage", "average"]),
        ("gan-mnist", "recipe.g_optimizer.name=adagrad", ["'adagrad'", "'adam'", "'rmsprop'"]),
        ("gan-mnist", "recipe.latent=gauss", ["recipe.latent", "'gauss'", "'uniform01'"]),
        ("gan-mnist", "recipe.update=both", ["recipe.update", "'both'", "'simultaneous'"]),
        (
            "pix2pix-facades",
            "generator_evaluation={network: inception}",
            ["'generator_evaluation'", "inception"],
        ),
        ("pix2pix-facades", "recipe.objective=l2", ["recipe.objective", "'l2'", "'l1+cgan'"]),
        ("pix2pix-facades", "recipe.loss=wgan-gp", ["recipe.loss", "'wgan-gp'", "'lsgan'"]),
        ("pix2pix-facades", "recipe.l1_wieght=2", ["recipe.l1_wieght", "2", "l1_weight"]),
        ("cyclegan-facades", "recipe.pool_size=-1", ["recipe.pool_size", "-1"]),
        ("cyclegan-facades", "recipe.identity_weight=-1", ["recipe.identity_weight", "-1"]),
        ("lapgan-cifar10", "recipe.loss=wgan-gp", ["recipe.loss", "'wgan-gp'", "'hinge'"]),
        ("lapgan-cifar10", "samples.evry=2", ["samples.evry", "2", "every"]),
        ("cgan-mnist", "task=cgan", ["task", "'cgan'", "'conditional-image-generation'"]),
        ("resnet20-digits", "recipe.optimizer.average=0.9", ["optimizer", "generators"]),
    ],
)
def test_mistakes_of_generators_get_one_line(name, override, words):
    assert_told_in_one_line(name, override, words)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "generator_evaluation.metrics=[fud]",
            ["generator_evaluation.metrics.0", "'fud'", "'fid'", "'classifier_agreement'"],
        ),
        (
            "generator_evaluation.metrics=fid",
            ["generator_evaluation.metrics", "a list", "'fid'"],
        ),
        ("generator_evaluation.metrics=[]", ["generator_evaluation.metrics", "empty"]),
        ("generator_evaluation.metric=[fid]", ["evaluation.metric'", "metrics"]),
        ("generator_evaluation.figures=[fid]", ["figures", "its name is metrics now"]),
        ("generator_evaluation.images=3", ["evaluation.images", "4", "3"]),
        ("generator_evaluation=true", ["generator_evaluation", "mapping", "True"]),
        (
            "generator_evaluation={metrics: [fid]}",
            ["'generator_evaluation.network' is missing"],
        ),
    ],
)
def test_mistakes_of_an_evaluation_of_generators_get_one_line(override, words):
    assert_told_in_one_line("gan-mnist", override, words)


def test_the_earlier_name_of_an_evaluation_is_told():
    words = ["'judge'", "is generator_evaluation now"]
    assert_told_in_one_line("gan-mnist", "judge={network: inception}", words)


def test_lengths_of_a_cosine_follow_from_the_run():
    rate = config.Cosine(peak=0.1, warmup_epochs=2, floor=0.01)
    resolved = config.Cosine(peak=0.1, warmup_steps=20, decay_steps=80, floor=0.01)
    assert rate.resolved(10, 10) == resolved
    assert resolved.resolved(10, 10) == resolved
    # A warm-up in epochs is cut to half of a short run, one in updates is meant.
    assert rate.resolved(10, 2).warmup_steps == 10
    with pytest.raises(ValueError, match="20 steps is as long as the run of 20"):
        config.Cosine(peak=0.1, warmup_steps=20).resolved(10, 2)


FINETUNING = {
    "name": "tuned",
    "task": "fine-tuning",
    "weights": "hf://someone/net",
    "model": {"name": "CIFARResNet", "arguments": {"classes": 3}},
    "data": {"source": "folder:photos", "validation": "train[85%:]"},
    "preprocessing": {"size": [32, 32]},
}


@pytest.mark.parametrize(("epochs", "head"), [(30, 3), (15, 3), (10, 2), (5, 1), (4, 0)])
def test_fine_tuning_needs_no_recipe(epochs, head):
    checked = config.parse(FINETUNING, overrides=[f"recipe.epochs={epochs}"])
    assert checked.recipe.head_epochs == head
    assert checked.recipe.optimizer.weight_decay_on == "kernels"
    assert config.parse(yaml.safe_load(config.dump(checked))) == checked
    assert config.parse(FINETUNING).recipe.epochs == 30


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.head_epochs=31", ["head_epochs", "30, got 31"]),
        ("recipe.head_epoch=3", ["recipe.head_epoch", "did you mean head_epochs"]),
        ("recipe.layer_decay=1.5", ["recipe.layer_decay", "1.5"]),
        ("data.validation=null", ["recipe.checkpoint needs data.validation"]),
        ("weight=x", ["unknown key 'weight'", "did you mean weights"]),
    ],
)
def test_mistakes_of_fine_tuning_get_one_line(override, words):
    with pytest.raises(ConfigError) as caught:
        config.parse(FINETUNING, overrides=[override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_the_evaluation_can_be_left_out():
    checked = config.load("gan-mnist", ["generator_evaluation=null"])
    assert checked.generator_evaluation is None


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


def test_imports_are_of_installed_modules():
    content = presets.read("resnet20-digits")
    assert config.parse(content | {"imports": ["json"]}).imports == ("json",)
    with pytest.raises(ConfigError, match=r"'no_such_module'.* put its folder on PYTHONPATH"):
        config.parse(content | {"imports": ["no_such_module"]})
    with pytest.raises(ConfigError, match="imports must be a list of modules, got 'json'"):
        config.parse(content | {"imports": "json"})


def assert_config_or_one_line(content, word):
    """The content parses and survives a round trip, or one line with the word refuses it."""
    message = None
    try:
        checked = config.parse(content)
    except ConfigError as error:
        message = str(error)
    if message is None:
        assert config.parse(yaml.safe_load(config.dump(checked))) == checked
    else:
        assert "\n" not in message
        assert word in message


SECTIONS = {"data": "source", "recipe": "batch_size", "preprocessing": "scale"}


@given(
    section=st.sampled_from(sorted(SECTIONS)),
    value=st.one_of(
        st.none(), st.text(), st.integers(-5, 0), st.lists(st.integers()), st.booleans()
    ),
)
@example(section="data", value="\x85")
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_gives_a_config_or_one_line(section, value):
    content = presets.read("resnet20-digits")
    content[section] = content[section] | {SECTIONS[section]: value}
    assert_config_or_one_line(content, SECTIONS[section])


@given(
    key=st.sampled_from(["learning_rate", "momentum", "average", "name"]),
    value=st.recursive(
        st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats(), st.booleans()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["name", "initial", "factor", "floor", "decay_steps", "boundaries", "end", "x"]
                ),
                inner,
            ),
        ),
        max_leaves=6,
    ),
)
@settings(max_examples=100, deadline=None)
def test_whatever_an_optimizer_holds_gives_a_config_or_one_line(key, value):
    content = presets.read("gan-mnist")
    optimizer = dict(content["recipe"]["g_optimizer"])
    content["recipe"]["g_optimizer"] = optimizer | {key: value}
    assert_config_or_one_line(content, "g_optimizer")
