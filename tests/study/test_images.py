"""A contract with an image is read, told on the page, and refused where nothing would look at the image."""

from __future__ import annotations

import tomllib

import pytest

from wardround.cli.site import site_text
from wardround.data.site_file import load_site
from wardround.preflight import plan_text
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.summary import as_text, summary

PLAN = """\
{kind}
study = "films"
[question]
kind = "binary"
title = "Pneumonia on a film"
purpose = "To try"
[parties]
coordinator = "c"
[contract]
label = "ill"
[contract.fields]
film = {{ type = "image", shape = [1, 28, 28], intensity = [0, 255], description = "a frontal film" {film} }}
ill = {{ type = "code", codes = [0, 1] }}
{fields}
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
[[phases]]
name = "test"
kind = "evaluate"
[bounds]
sites = 4
examples = 1000
[rounds]
quorum = 3
combine = "plain"
[privacy]
counts = true
[evaluation]
metrics = ["auroc"]
"""


def plan(kind: str = "", film: str = "", fields: str = "") -> Protocol:
    return read_protocol(PLAN.format(kind=kind, film=film, fields=fields), "study.toml")


def test_the_page_says_that_an_image_is_read() -> None:
    page = as_text(summary(plan()), width=10_000)
    assert "Inputs: film (a frontal film, an image of 28 x 28 in 1 channel, intensities 0 to 255)." in page
    assert "predicts 'ill', one of 0, 1 from an image." in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAN.format(kind='kind = "evaluation"', film="", fields=""), "tested on columns of tables only"),
        (PLAN.format(kind="", film=", input = false", fields='age = { type = "number", unit = "a", range = [0, 120] }'), "does not see"),
        (PLAN.format(kind="", film="", fields='age = { type = "number", unit = "a", range = [0, 120] }'), "nothing beside it"),
    ],
)
def test_an_image_that_nothing_looks_at_is_refused(text: str, words: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        read_protocol(text, "study.toml")
    assert words in str(refused.value)
    assert "contract" in str(refused.value)


def test_a_preflight_of_images_is_refused_and_says_what_there_is() -> None:
    with pytest.raises(ProtocolError, match="is an image") as refused:
        plan_text(plan())
    assert "site check" in refused.value.remedy


def test_a_new_site_file_for_images_can_be_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = site_text("north", plan().contract, "patients.csv")
    assert tomllib.loads(text)["source"]["kind"] == "images"
    assert "1 channel, 28 x 28 pixels, intensities 0 to 255" in text
    file = tmp_path_factory.mktemp("new") / "site.toml"
    file.write_text(text)
    one = load_site(file)
    assert one.column_of("film") == "film"
    assert one.map["film"].resize == "refuse"
