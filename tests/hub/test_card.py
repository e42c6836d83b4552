import dataclasses

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch.errors import ArgumentError
from keras_arch.hub import Card
from keras_arch.hub.card import readme
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
    assert "![Samples](samples.png)" in read.text


def test_the_text_tells_what_plain_keras_does_not_know(card):
    text = readme(card)
    assert "`input = (pixel * 0.003921568627 - 0.5) / 0.25`" in text
    assert "| accuracy | 0.975 |" in text
    assert "learning_rate: 0.1" in text
    assert "Nobody, Nothing, 2026" in text
    assert "samples.png" not in text
    assert "/home/somebody" not in text
    assert "folder:pictures" in text


def test_a_generator_s_text_is_about_what_it_makes():
    card = Card(
        "faces",
        "DCGANGenerator",
        {"image_size": 32},
        "unconditional-image-generation",
        Preprocessing(size=(32, 32), scale=1 / 127.5, mean=1.0),
        latent={"size": 100, "distribution": "uniform"},
        repository="user/faces",
    )
    text = readme(card)
    assert "keras.random.uniform((16, 100), -1.0, 1.0)" in text
    assert 'load_model("hf://user/faces")' in text
    assert "`y = pixel * 0.007843137255 - 1`" in text


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
    import json

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
