"""From a model's name to the files it is made of: released names, `hf://owner/repo/file`, local folders and files.

Released names are pinned to a commit of their Hugging Face repository, so that a name means the same bytes for ever.
Downloads go through `huggingface_hub`: into its cache (`HF_HOME`), with its progress bar, once.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

logger = logging.getLogger(__name__)

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".bin")
VOCAB = "vocab.txt"


class ModelFilesError(ValueError):
    """The files of a model could not be had. The message says what is missing and where to put it.

    `field`: what of the model was looked for, "weights", "vocab" or "vocoder".
    """

    def __init__(self, message: str, field: str = "weights") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class HubFile:
    """A file in a Hugging Face model repository; `revision` is a commit, branch or tag."""

    repository: str
    path: str
    revision: str

    def __str__(self) -> str:
        return f"hf://{self.repository}@{self.revision}/{self.path}"

    def beside(self, name: str) -> HubFile:
        """The file of this name in the same folder."""
        folder, slash, _ = self.path.rpartition("/")
        return HubFile(self.repository, f"{folder}{slash}{name}", self.revision)


@dataclass(frozen=True)
class BackboneFiles:
    weights: Path
    vocab: Path


@dataclass(frozen=True)
class VocoderFiles:
    config: Path
    weights: Path


# Commits as public projects pin them and as their cache paths show them.
_F5_REVISION = "84e5a410d9cead4de2f847e7c9369a6440bdfaca"
_E2_REVISION = "98016df3e24487aad803aff506335caba8414195"
RELEASED = {
    "F5TTS_v1_Base": HubFile("SWivid/F5-TTS", "F5TTS_v1_Base/model_1250000.safetensors", _F5_REVISION),
    "F5TTS_Base": HubFile("SWivid/F5-TTS", "F5TTS_Base/model_1200000.safetensors", _F5_REVISION),
    "F5TTS_Base_bigvgan": HubFile("SWivid/F5-TTS", "F5TTS_Base_bigvgan/model_1250000.pt", _F5_REVISION),
    "E2TTS_Base": HubFile("SWivid/E2-TTS", "E2TTS_Base/model_1200000.safetensors", _E2_REVISION),
}
# The vocoder of each kind of mel, and the file that describes it.
RELEASED_VOCODERS = {
    "vocos": HubFile("charactr/vocos-mel-24khz", "pytorch_model.bin", "0feb3fdd929bcd6649e0e7c5a688cf7dd012ef21"),
    "bigvgan": HubFile(
        "nvidia/bigvgan_v2_24khz_100band_256x", "bigvgan_generator.pt", "c329ede9e9bbc100ddf5c91e2330a61921262370"
    ),
}
VOCODER_CONFIGS = {"vocos": "config.yaml", "bigvgan": "config.json"}
_LICENCES = {
    "SWivid/F5-TTS": "code MIT, weights CC-BY-NC-4.0: not for commercial use",
    "SWivid/E2-TTS": "code MIT, weights CC-BY-NC-4.0: not for commercial use",
    "charactr/vocos-mel-24khz": "code and weights MIT",
    "nvidia/bigvgan_v2_24khz_100band_256x": "code and weights MIT",
}

_REACH_S = 10.0

_HUB_NAME = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w.-]+))?(/(?P<path>.+))?")


def backbone_files(model: str, vocab: str | None = None) -> BackboneFiles:
    """The weights and the vocabulary of a model, downloaded if need be.

    model: a name of `RELEASED`, `hf://owner/repo/file` or `hf://owner/repo@revision/file`, a weights file, or a folder
        with one weights file in it.
    vocab: the vocabulary, a file or `hf://` name; without it the `vocab.txt` next to the weights.

    Raises ModelFilesError, which says what was looked for and what to put where.
    """
    if model in RELEASED:
        source: HubFile | Path = RELEASED[model]
    elif model.startswith("hf://"):
        source = _hub_file(model)
    else:
        source = _local_weights(model)
    if isinstance(source, HubFile):
        weights = _download(source)
        return BackboneFiles(weights, _named_file(vocab) if vocab else _download(source.beside(VOCAB)))
    return BackboneFiles(source, _named_file(vocab) if vocab else _vocab_beside(source))


def vocoder_files(kind: Literal["vocos", "bigvgan"], vocoder: str | None = None) -> VocoderFiles:
    """The configuration and the weights of a vocoder that reads this kind of mel, downloaded if need be.

    vocoder: a folder with a `config.yaml` (Vocos) or `config.json` (BigVGAN) and one weights file, `hf://owner/repo` or
        `hf://owner/repo@revision` with files named as in the released repository; without it `RELEASED_VOCODERS`.

    Raises ModelFilesError, which says what was looked for and what to put where.
    """
    described = VOCODER_CONFIGS[kind]
    if vocoder is None or vocoder.startswith("hf://"):
        weights = RELEASED_VOCODERS[kind]
        if vocoder is not None:
            repository, revision, path = _hub_name(vocoder)
            if path is not None:
                raise ModelFilesError(
                    f"vocoder {vocoder!r} names a file; name the repository, hf://owner/repo", "vocoder"
                )
            weights = HubFile(repository, weights.path, revision)
        return VocoderFiles(_download(weights.beside(described)), _download(weights))
    folder = Path(vocoder).expanduser()
    config = folder / described
    if not config.is_file():
        raise ModelFilesError(
            f"vocoder {vocoder!r} is not a folder with a {described} in it; the model speaks in mels for {kind}, whose "
            f"vocoder is a folder with {described} and its weights, or hf://owner/repo",
            "vocoder",
        )
    return VocoderFiles(config, _only_weights(folder))


def check_local_files(
    kind: Literal["vocos", "bigvgan"], model: str, vocab: str | None = None, vocoder: str | None = None
) -> None:
    """Raises ModelFilesError for a file that should be on this machine and is not; downloads nothing."""
    if model not in RELEASED and not model.startswith("hf://"):
        weights = _local_weights(model)
        if vocab is None:
            _vocab_beside(weights)
    if vocab is not None and not vocab.startswith("hf://"):
        _named_file(vocab)
    if vocoder is not None and not vocoder.startswith("hf://"):
        vocoder_files(kind, vocoder)


def _hub_name(name: str) -> tuple[str, str, str | None]:
    """Repository, revision and path of an `hf://` name; the path may be absent, the revision defaults to main."""
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise ModelFilesError(f"{name!r} is not of the form hf://owner/repo/file or hf://owner/repo@revision/file")
    return match["repository"], match["revision"] or "main", match["path"]


def _hub_file(name: str) -> HubFile:
    repository, revision, path = _hub_name(name)
    if path is None:
        raise ModelFilesError(f"{name!r} names no file; write hf://owner/repo/file")
    return HubFile(repository, path, revision)


def _vocab_beside(weights: Path) -> Path:
    beside = weights.with_name(VOCAB)
    if not beside.is_file():
        raise ModelFilesError(
            f"{weights} has no vocabulary: put the {VOCAB} it was trained with next to it, or name the file (F5_VOCAB)",
            "vocab",
        )
    return beside


def _named_file(name: str) -> Path:
    if name.startswith("hf://"):
        return _download(_hub_file(name))
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelFilesError(f"there is no vocabulary file {name!r}", "vocab")
    return path


def _local_weights(model: str) -> Path:
    path = Path(model).expanduser()
    if path.is_dir():
        return _only_weights(path)
    if not path.is_file():
        close = get_close_matches(model, ("embedded", *RELEASED), n=1)
        meant = f"did you mean {close[0]}? Else " if close else ""
        raise ModelFilesError(
            f"there is no model {model!r}: {meant}name one of embedded, {', '.join(RELEASED)}, a file ending in "
            f"{', '.join(WEIGHT_SUFFIXES)}, a folder that holds one, or hf://owner/repo/file"
        )
    return path


def _only_weights(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelFilesError(
            f"folder {folder} must hold exactly one weights file ({', '.join(WEIGHT_SUFFIXES)}); it holds {names}"
        )
    return found[0]


def _download(file: HubFile) -> Path:
    """The file's path in the cache of huggingface_hub, where it is put first if it is not there."""
    cached = isinstance(try_to_load_from_cache(file.repository, file.path, revision=file.revision), str)
    if not cached:
        licence = _LICENCES.get(file.repository, "see the model card for its licence")
        logger.warning("Downloading %s (%s)", file, licence)
    try:
        if not cached:
            _reach(file)
        return Path(hf_hub_download(file.repository, file.path, revision=file.revision))
    except (LocalEntryNotFoundError, _Unreachable) as error:  # nothing in the cache, and no way to the hub
        raise ModelFilesError(
            f"{file} is not on this machine and the Hugging Face hub cannot be reached. Either fetch it where there is "
            f"a network (hf download {file.repository} {file.path} --revision {file.revision}) and bring the cache "
            f"folder along (HF_HOME); or {_by_hand(file)}"
        ) from error
    except GatedRepoError as error:
        raise ModelFilesError(
            f"{file.repository} wants its terms accepted on huggingface.co; then log in (hf auth login)"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelFilesError(
            f"there is no repository {file.repository} on the Hugging Face hub, or it is private"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelFilesError(f"{file.repository} has no revision {file.revision}") from error
    except EntryNotFoundError as error:
        raise ModelFilesError(f"{file.repository} has no file {file.path} at revision {file.revision}") from error
    except (HfHubHTTPError, XetDownloadError, OSError) as error:
        raise ModelFilesError(f"{file} could not be downloaded: {error}") from error


class _Unreachable(Exception):
    """The hub does not answer."""


def _reach(file: HubFile) -> None:
    """Ask the hub for a file once; `hf_hub_download` asks for half a minute where there is no network.

    Raises _Unreachable. What else may be wrong with the file is left to the download.
    """
    try:
        get_hf_file_metadata(hf_hub_url(file.repository, file.path, revision=file.revision), timeout=_REACH_S)
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        raise _Unreachable from error
    except (HfHubHTTPError, FileMetadataError):
        return


def _by_hand(file: HubFile) -> str:
    """What to put where, for a machine without a network."""
    name = file.path.rpartition("/")[2]
    for kind, weights in RELEASED_VOCODERS.items():
        if name in (weights.path, VOCODER_CONFIGS[kind]):
            names = f"{VOCODER_CONFIGS[kind]} and {weights.path}"
            return f"put {names} of {file.repository} into a folder and name it (F5_VOCODER)"
    if name == VOCAB:
        return f"put {VOCAB} next to the weights, or name the file (F5_VOCAB)"
    return f"put {name} and its {VOCAB} into a folder and name that folder as the model (F5_MODEL)"
