"""The language of texts is recognised, and none is invented."""

from __future__ import annotations

import pytest

from hpo_job.data.language import NAMES, language_of

SENTENCES = {
    "cs": "Na počátku bylo slovo, ale to slovo se nedalo říci a každý je znal jako své jméno.",
    "da": "Han gik ud på vejen og så, at det var en dag med regn, som ikke ville høre op.",
    "de": "Der alte Mann ging mit dem Hund an den Fluss, und es war noch nicht spät am Abend.",
    "en": "The prisoner was indicted for stealing a silver watch from the house of his master.",
    "es": "El hombre que vive en la casa de la esquina no es el padre de los niños.",
    "fi": "Hän on talossa ja odottaa, mutta kukaan ei tule, kun sataa niin kovasti.",
    "fr": "Le prisonnier est dans la maison avec les enfants et il ne veut pas en sortir.",
    "it": "Il vecchio non era in casa, ma la porta della cucina era aperta e il cane con lui.",
    "la": "Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae, et non aliam.",
    "nl": "De oude man ging met zijn hond naar de rivier en het was nog niet laat op de dag.",
    "pl": "Stary człowiek nie był w domu, ale drzwi do kuchni są otwarte i to jest dziwne.",
    "pt": "O homem que mora na casa da esquina não é o pai dos meninos e não foi com eles.",
    "ru": "Старик не был в доме, но дверь на кухню была открыта, и это все, что он видел.",
    "sv": "Han gick ut på vägen och såg att det var en dag med regn som inte ville sluta.",
}


def test_every_language_has_a_sentence_here() -> None:
    assert SENTENCES.keys() == NAMES.keys()


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_a_sentence_is_recognised(code: str) -> None:
    guess = language_of([SENTENCES[code]])
    assert guess is not None
    assert (guess.code, guess.name) == (code, NAMES[code])


@pytest.mark.parametrize(
    "texts",
    [[], [""], ["1 2 3", "4.5"], ["red blue green", "yellow"], ["語言學是研究語言的學科"]],
)
def test_what_is_no_text_of_a_known_language_has_none(texts: list[str]) -> None:
    assert language_of(texts) is None


def test_most_texts_decide() -> None:
    guess = language_of([SENTENCES["fr"], *[SENTENCES["de"]] * 5])
    assert guess is not None
    assert guess.code == "de"
