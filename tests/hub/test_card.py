import dataclasses
import json

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch.errors import ArgumentError
from keras_arch.hub import Card
from keras_arch.hub.readme import readme
from keras_arch.preprocessing import Preprocessing


def test_the_hub_s_own_reader_finds_the_metadata(card):
    read = ModelCard(readme(card, samples=True))
    data = read.data
    assert (data.library_name, data.license) == ("keras", "apache-2.0")
    assert data.pipeline_tag == "image-classification"
    assert data.datasets == ["digits"], "names of the Hub only, no folders of a machine"
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.975)
    assert data.model_name == "small-digits"
    # The picture of a classifier.
    assert "![Confusion matrix: true classes down, predicted ones across](samples.png)" in read.text


def test_the_text_tells_what_plain_keras_does_not_know(card):
    text = readme(card)
    assert "`input = (pixel * 0.003921568627 - 0.5) / 0.25`" in text
    assert "| accuracy | 0.975 |" in text
    assert "learning_rate: 0.1" in text
    assert "Nobody, Nothing, 2026" in text
    assert "samples.png" not in text
    assert "/home/somebody" not in text
    assert "folder:pictures" in text


def test_the_text_tells_how_the_centre_is_cut_out(card):
    cut = Preprocessing(size=(224, 224), resize="bicubic", crop=0.95)
    text = readme(dataclasses.replace(card, preprocessing=cut))
    assert "(the centre of others, whose shorter side `bicubic` brings to 235)" in text


@pytest.mark.parametrize(
    ("base", "known"), [("hf://someone/net@v1", "someone/net"), ("net-of-mine", None)]
)
def test_what_a_model_was_fine_tuned_from_is_told(card, base, known):
    tuned = dataclasses.replace(card, base=base)
    assert Card.from_dict(json.loads(json.dumps(tuned.to_dict()))) == tuned
    assert "base" not in card.to_dict()
    read = ModelCard(readme(tuned))
    assert read.data.base_model == known
    assert f"Fine-tuned from `{base}`." in read.text
    assert ModelCard(readme(card)).data.base_model is None


def test_a_generator_s_text_is_about_what_it_makes():
    card = Card(
        "faces",
        "DCGANGenerator",
        {"variant": "pytorch", "image_shape": [32, 32, 3]},
        "unconditional-image-generation",
        Preprocessing(size=(32, 32), scale=1 / 127.5, mean=1.0),
        latent={"size": 100, "distribution": "uniform"},
        repository="user/faces",
    )
    text = readme(card)
    assert "keras.random.uniform((16, 100), -1.0, 1.0)" in text
    assert 'load_model("hf://user/faces")' in text
    assert "`y = pixel * 0.007843137255 - 1`" in text


@pytest.fixture
def conditional():
    return Card(
        "digits-on-demand",
        "CGANGenerator",
        {"classes": 30},
        "conditional-image-generation",
        Preprocessing(size=(28, 28), channels=1),
        labels=[f"class {i}" for i in range(30)],
        latent={"size": 100, "distribution": "uniform01"},
        metrics={"read_as_asked": 0.96},
        repository="user/digits",
    )


@pytest.fixture
def translator():
    return Card(
        "facades",
        "Pix2PixGenerator",
        {"variant": "unet_128", "inference_norm": "batch", "inference_dropout": True},
        "image-to-image",
        Preprocessing(size=(128, 128), scale=1 / 127.5, mean=1.0),
        repository="user/facades",
    )


def test_a_conditional_generator_s_text_tells_how_to_ask(conditional):
    read = ModelCard(readme(conditional))
    # The Hub has no tag of its own for them.
    assert read.data.pipeline_tag == "unconditional-image-generation"
    assert read.data.tags == ["keras_arch", "CGANGenerator", "conditional-image-generation"]
    assert read.data.eval_results[0].task_type == "conditional-image-generation"
    assert "keras.random.uniform((16, 100), 0.0, 1.0)" in read.text
    assert "keras.ops.arange(16) % 30" in read.text
    assert "loaded.model([latent, label])" in read.text
    assert "Labels: 0 class 0, 1 class 1, " in read.text
    assert "19 class 19 and 10 more." in read.text
    assert "`y = pixel * 0.003921568627` for pixels in [0, 255]." in read.text


def test_a_translator_s_text_tells_what_it_keeps_at_inference(translator):
    read = ModelCard(readme(translator))
    assert read.data.pipeline_tag == "image-to-image"
    assert "keras_arch.trainers.translate(loaded.model, inputs)" in read.text
    assert "normalises with the statistics of the batch at hand and keeps dropout" in read.text
    assert "with keras.StatelessScope():" in read.text
    assert "`input = pixel * 0.007843137255 - 1`" in read.text
    assert "The output is scaled alike." in read.text


@pytest.mark.parametrize(
    ("arguments", "told", "scoped"),
    [
        # The builder's defaults count where the card names no choice.
        ({}, "the statistics of the batch at hand and keeps dropout", True),
        ({"inference_dropout": False}, "the batch at hand and has no dropout", True),
        ({"inference_norm": "moving"}, "the moving averages of training and keeps dropout", True),
        (
            {"inference_norm": "instance", "inference_dropout": False},
            "the statistics of each image and has no dropout",
            False,
        ),
    ],
)
def test_the_choice_at_inference_is_a_sentence(translator, arguments, told, scoped):
    text = readme(dataclasses.replace(translator, arguments=arguments))
    assert told in text
    assert ("StatelessScope" in text) == scoped


def test_translators_that_keep_nothing_say_nothing(translator):
    for name in ("CycleGANGenerator", "SomebodysOwn"):
        card = dataclasses.replace(translator, architecture=name, arguments={})
        assert "At inference" not in readme(card)


def test_what_a_translator_makes_may_be_scaled_otherwise(translator):
    made = Preprocessing(size=(128, 128), channels=1)
    card = dataclasses.replace(translator, target_preprocessing=made)
    assert card.output_preprocessing == made
    assert translator.output_preprocessing == translator.preprocessing
    assert "It makes 128x128 grey images y: `y = pixel * 0.003921568627`" in readme(card)
    described = json.loads(json.dumps(card.to_dict()))
    assert Card.from_dict(described) == card
    for wrong in (7, {"size": 3.5}, {"channels": 1}):
        with pytest.raises(ArgumentError, match="preprocessing"):
            Card.from_dict(described | {"target_preprocessing": wrong})


def test_cards_of_before_are_read_and_those_of_now_by_versions_of_before(card):
    # The keys of version 0.1.
    known = (
        "name architecture arguments task preprocessing labels latent description license "
        "datasets recipe metrics paper repository"
    )
    plain = dataclasses.replace(card, activation=None)
    assert list(plain.to_dict()) == known.split()
    assert Card.from_dict(plain.to_dict()).target_preprocessing is None


@pytest.mark.parametrize(
    ("which", "change", "words"),
    [
        ("conditional", {"labels": None}, "needs labels"),
        ("conditional", {"labels": []}, "needs labels"),
        ("conditional", {"latent": None}, "needs latent"),
        ("conditional", {"latent": None, "labels": None}, "needs labels and latent"),
        ("translator", {"labels": ["a"]}, "has no labels"),
        ("translator", {"latent": {"size": 3, "distribution": "uniform01"}}, "has no latent"),
        ("translator", {"target_preprocessing": {"size": 8}}, "must be a Preprocessing"),
        (
            "conditional",
            {"target_preprocessing": Preprocessing(size=(8, 8))},
            "is for image-to-image, the task is conditional-image-generation",
        ),
    ],
)
def test_what_a_task_needs_is_told_in_one_line(which, change, words, request):
    with pytest.raises(ArgumentError, match=words) as caught:
        dataclasses.replace(request.getfixturevalue(which), **change)
    assert "\n" not in str(caught.value)


def test_a_mean_image_is_pointed_to_not_printed(card):
    mean = [[[0.25]] * 8] * 8
    preprocessing = dataclasses.replace(card.preprocessing, mean=mean)
    text = readme(dataclasses.replace(card, preprocessing=preprocessing))
    assert "the mean image in keras_arch.json" in text
    assert len(text) < 3000


texts = st.text(max_size=20)
figures = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=100)
@given(
    name=texts.filter(lambda t: t.strip() and "\n" not in t),
    description=texts,
    datasets=st.lists(texts, max_size=3),
    labels=st.none() | st.lists(texts, max_size=4),
    recipe=st.dictionaries(texts, plain, max_size=3),
    metrics=st.dictionaries(texts, figures, max_size=3),
)
def test_any_card_survives_json_and_gives_a_readable_readme(**fields):
    card = Card(
        architecture="A",
        arguments={},
        task="image-classification",
        preprocessing=Preprocessing(size=(8, 8), mean=[0.1, 0.2, 0.3]),
        **fields,
    )
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    head = readme(card).split("---\n")[1]
    assert yaml.safe_load(head)["library_name"] == "keras"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"task": "translation"}, "translation"),
        ({"preprocessing": {"size": 8}}, "preprocessing"),
        ({"labels": [1, 2]}, "labels"),
        ({"labels": "abc"}, "labels"),
        ({"metrics": {"loss": float("nan")}}, "loss"),
        ({"metrics": {"loss": "low"}}, "low"),
        ({"arguments": {"depth": {1, 2}}}, "arguments"),
        ({"recipe": {"rate": float("inf")}}, "recipe"),
        ({"recipe": []}, "recipe"),
        ({"latent": {"size": 0, "distribution": "normal"}}, "latent"),
        ({"latent": {"size": 3, "distribution": "cauchy"}}, "cauchy"),
        ({"latent": 100}, "100"),
    ],
)
def test_what_cannot_be_right_is_named_in_one_line(card, change, named):
    with pytest.raises(ArgumentError, match=named) as caught:
        dataclasses.replace(card, **change)
    assert "\n" not in str(caught.value)


def test_a_description_with_other_keys_is_refused(card):
    with pytest.raises(ArgumentError, match="'licence'"):
        Card.from_dict(card.to_dict() | {"licence": "mit"})
    with pytest.raises(ArgumentError, match="preprocessing"):
        Card.from_dict({"name": "x"})
    with pytest.raises(ArgumentError, match="task"):
        Card.from_dict({"name": "x", "preprocessing": card.preprocessing.to_dict()})
