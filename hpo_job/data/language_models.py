"""Which pre-trained language model a study of texts starts from: by its language, or configured."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hpo_job.spec.study_toml import Data, StudySpec, is_url

ENGLISH = "en"
WIKIPEDIA = "wt103-fwd"  # fastai's, of English Wikipedia
ENDING = 16  # characters of a digest that tell models apart


@dataclass(frozen=True)
class LanguageModel:
    """A language model in fastai's format: a .pth file of weights and a .pkl file of its tokens.

    Attributes:
        language: of its texts.
        path: the folder of the two files, or an archive of them; None where no file is configured.
        url: of an archive, which is downloaded once; None where no URL is configured.
        sha256: of what is behind the URL.
    """

    language: str = ENGLISH
    path: Path | None = None
    url: str | None = None
    sha256: str | None = None

    @cached_property
    def name(self) -> str:
        """The folder that it has among the weights of a machine."""
        if self.sha256:
            return f"lm-{self.sha256[:ENDING]}"
        if self.path and self.path.is_file():
            with self.path.open("rb") as file:
                return f"lm-{hashlib.file_digest(file, 'sha256').hexdigest()[:ENDING]}"
        return WIKIPEDIA if self.language == ENGLISH else f"lm-{self.language}"

    @property
    def described(self) -> str:
        """What it is, for people."""
        source = self.url or self.path
        if source:
            return f"the language model {source}"
        if self.language == ENGLISH:
            return "fastai's AWD_LSTM language model of English Wikipedia (CC BY-SA 3.0)"
        return f"the language model {self.name}"


def language_model_of(spec: StudySpec) -> LanguageModel:
    """The language model that a study's [data] asks for."""
    data = spec.data or Data(path="-")
    language, source = data.language or ENGLISH, data.language_model
    if source is None:
        return LanguageModel(language)
    if is_url(source):
        return LanguageModel(language, url=source, sha256=data.language_model_sha256)
    return LanguageModel(language, path=(spec.folder / source).absolute())
