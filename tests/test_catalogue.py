"""The models file, and what a request that leaves things open is made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from f5_tts_server.catalogue import Catalogue, catalogue
from f5_tts_server.inference_types import RequestError, SamplingDefaults
from f5_tts_server.loading import sampling_defaults
from f5_tts_server.settings import Settings

RELEASED = SamplingDefaults(nfe=50, cfg_strength=2.0, sway=False)


def read(folder: Path, text: str, **settings: object) -> Catalogue:
    (folder / "models.yaml").write_text(text)
    return catalogue(Settings(models_file=folder / "models.yaml", **settings), sampling_defaults)  # type: ignore[arg-type]


def test_a_file_of_models(tmp_path: Path) -> None:
    (tmp_path / "de.safetensors").write_bytes(b"")
    models = read(
        tmp_path,
        """
        default: german
        models:
          - name: english
            weights: embedded
          - name: german
            weights: de.safetensors
            config: F5TTS_Base
            vocab: hf://owner/repo/vocab.txt
            dtype: bfloat16
            load: first-use
            aliases: [de, tts-1]
        """,
    )
    assert models.names == ("german", "de", "tts-1", "english")
    german = models.find("de")
    assert german is models.default is models.find(None) is models.find("tts-1", foreign=True)
    assert german.settings.model == str(tmp_path / "de.safetensors")
    assert (german.settings.vocab, german.settings.dtype) == ("hf://owner/repo/vocab.txt", "bfloat16")
    assert not german.at_start and models.find("english").at_start
    for foreign in (False, True):
        with pytest.raises(
            RequestError, match=r"'french' is unknown here; there is german, de, tts-1, english"
        ) as error:
            models.find("french", foreign=foreign)
        assert (error.value.status, error.value.field) == (404, "model")


ONE = "{name: a, weights: embedded}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the file is empty; it must have a list `models`"),
        ("models: []", "models: must have at least one entry"),
        ("models: {name: a}", r"models: must be a list, not \{'name': 'a'\}"),
        ("[]", r"models\.yaml: must be a mapping, not \[\]"),
        ("models: {", "is not a YAML file"),
        (f"models: [{ONE}]\nmodels: [{ONE}]", "'models' is there twice"),
        (f"models: [{ONE}]\nother: 1", "other: is no field here; there are default, models"),
        ("models: [a]", r"models\[0\]: must be a mapping, not 'a'"),
        ("models: &x [*x]", r"models\[0\]: must be a mapping, not \["),
        ("models: " + "[" * 3000 + "]" * 3000, "is nested too deeply"),
        ("models: [{name: a}]", r"models\[0\] \(a\): weights: is missing"),
        (f"models: [{ONE}, {{name: b, weights: embedded, dtype: int8}}]", r"models\[1\] \(b\): dtype: .*'int8'"),
        (
            f"models: [{ONE}, {{name: b, weights: embedded, vocabulary: x}}]",
            r"models\[1\] \(b\): vocabulary: is no field here; there are name, weights, config, vocab,",
        ),
        (
            "models: [{name: a, weights: embedded, defaults: {steps: 3}}]",
            r"models\[0\] \(a\): defaults.steps: is no field here; there are voice, quality,",
        ),
        ("models: [{name: 'a b', weights: embedded}]", r"models\[0\] \(a b\): name: must be 1 to 100 letters, digits"),
        ("models: [{name: no, weights: embedded}]", r"name: must be text, not False, as which YAML reads it without"),
        ("models: [{name: a, weights: ''}]", r"models\[0\] \(a\): weights: must not be empty"),
        ("models: [{name: a, weights: embedded, aliases: x}]", r"models\[0\] \(a\): aliases: must be a list, not 'x'"),
        (
            f"models: [{ONE}, {{name: b, weights: embedded, aliases: [a]}}]",
            r"models\[1\] \(b\): aliases: 'a' is a name of",
        ),
        (f"models: [{ONE}, {ONE}]", r"models\[1\] \(a\): name: 'a' is a name of models\[0\] \(a\)"),
        (f"default: c\nmodels: [{ONE}]", "default: 'c' is no model's name; they are a"),
        ("models: [{name: a, weights: x, config: Nonsense}]", r"models\[0\] \(a\): config: there is no configuration"),
        (
            "models: [{name: a, weights: embedded, defaults: {num_inference_steps: 65}}]",
            r"models\[0\] \(a\): defaults.num_inference_steps: must be .*64, not 65$",
        ),
        ("models: [{name: a, weights: embedded, defaults: {quality: good}}]", r"defaults.quality: .*'draft'.*'good'"),
        (
            "models: [{name: a, weights: no.safetensors, load: first-use}]",
            r"weights: there is no model 'no.safetensors'",
        ),
        ("models: [{name: a, weights: here.bin}]", r"models\[0\] \(a\): vocab: .*here.bin has no vocabulary"),
        ("models: [{name: a, weights: here.bin, vocab: v.txt}]", r"vocab: there is no vocabulary file 'v.txt'"),
        ("models: [{name: a, weights: E2TTS_Base, vocoder: v}]", r"models\[0\] \(a\): vocoder: .*'v' is not a folder"),
    ],
)
def test_each_fault_of_a_file_names_its_entry_and_field(tmp_path: Path, text: str, message: str) -> None:
    """One line for one fault: a list of entries was also called too short once one of them was wrong. Files that are
    not there are found at the start, not by the first request for the model."""
    (tmp_path / "here.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "models.yaml"))
    assert "YAML file" in str(caught.value) or "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ValueError, match=rf"models_file {path} cannot be read: [A-Z]"):
            catalogue(Settings(models_file=path), sampling_defaults)


def test_entries_may_share_what_yaml_merges(tmp_path: Path) -> None:
    """Repeated keys are refused, but not those that an entry takes over and replaces."""
    text = "models:\n- &one {name: a, weights: embedded, dtype: bfloat16}\n- {<<: *one, name: b}"
    assert [(e.name, e.settings.dtype) for e in read(tmp_path, text).entries] == [("a", "bfloat16"), ("b", "bfloat16")]


def test_the_single_model_has_any_name_in_protocols_that_are_not_ours() -> None:
    models = catalogue(Settings(), sampling_defaults)
    assert models.names == ("embedded", "tts-1", "tts-1-hd")
    assert models.find("gpt-4o-mini-tts", foreign=True) is models.default
    with pytest.raises(RequestError, match="'gpt-4o-mini-tts' is unknown"):
        models.find("gpt-4o-mini-tts")


def test_what_is_left_open(tmp_path: Path) -> None:
    """A request's own quality, then the model's defaults, then the operator's quality, then the model's recommendation;
    other servers' protocols are spared a released model's 50 steps."""
    released = catalogue(Settings(model="F5TTS_v1_Base"), sampling_defaults).default
    assert released.sampling() == RELEASED
    assert released.sampling(thrifty=True) == SamplingDefaults(16, 2.0, True)
    assert [released.sampling(q).nfe for q in ("draft", "fast", "balanced", "best")] == [5, 7, 16, 32]
    embedded = catalogue(Settings(), sampling_defaults).default
    assert (
        embedded.sampling()
        == embedded.sampling(thrifty=True)
        == embedded.sampling("best")
        == SamplingDefaults(4, 0.0, True)
    )

    chosen = catalogue(Settings(model="F5TTS_v1_Base", quality="fast"), sampling_defaults).default
    assert chosen.sampling() == chosen.sampling(thrifty=True) == SamplingDefaults(7, 2.0, True)
    assert chosen.sampling("best").nfe == 32

    text = "models: [{name: a, weights: F5TTS_v1_Base, defaults: {quality: draft, guidance_scale: 1.5}}]"
    own = read(tmp_path, text, quality="fast").default
    assert own.sampling() == own.sampling(thrifty=True) == SamplingDefaults(5, 1.5, True)
    assert own.sampling("fast") == SamplingDefaults(7, 2.0, True)


def test_a_models_file_stands_in_place_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave out model"):
        Settings(models_file=tmp_path / "models.yaml", model="embedded")
    with pytest.raises(ValueError, match="are for the models of a models_file"):
        Settings(model_idle_s=60)
