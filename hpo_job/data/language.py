"""The language of texts, guessed by the words that every text of a language is full of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

LOOKED_AT = 300  # texts that a guess is made of
LEAST = 0.12  # share of words that a language's frequent words must make up
LEAD = 1.15  # how many times as many they must be as those of any other language
WORD = re.compile(r"[^\W\d_]+")

NAMES = {
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "it": "Italian",
    "la": "Latin",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "sv": "Swedish",
}
_FREQUENT = {
    "cs": "a se v na je že do s z to o k i jak ve po ale jako za pro by tak od které který však",
    "da": "og i at det er en af til på som med for den ikke de der et var han fra har om jeg sig",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch "
    "es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem ich so zum "
    "war haben nur oder aber vor zur bis mehr durch man vnd seyn",
    "en": "the of and to in a is that for it as was with be by on not he his this are at from "
    "but have had which they you were an or her all she there been their we has will would my",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero "
    "sus le ha me si sin sobre este ya entre cuando todo esta ser son dos también fue",
    "fi": "ja on ei se että oli hän mutta kun ovat niin myös joka tai hänen sen olla ole ne jos "
    "kuin vain mitä minä nyt",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce "
    "il sont la ou son avec elle mais on aux ces cette je nous vous lui comme leur",
    "it": "di e il la che in a un è per una non sono con si da come del le dei nel alla al più "
    "anche della gli delle ma se lo ha questo i o era cui",
    "la": "et in est non ad ut cum quod qui sed si ex de quae per ab esse ac a hoc enim etiam "
    "autem nec eius atque sunt aut quam",
    "nl": "de en van het een in is dat op te zijn met voor niet die aan er om ook als dan maar "
    "bij of uit nog naar heeft hij ze wordt door over werd ik wij",
    "pl": "w i na się z do nie że to jest o jak po co za od tak ale przez dla jego był oraz tym "
    "są go już tylko ich czy jako ze",
    "pt": "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele "
    "das à seu sua ou quando muito nos já eu também só pelo pela até isso é foi são",
    "ru": "и в не на я что он с как это по но его к у из за от так то о же вы бы она для мы все "
    "был было ее меня только еще мне",
    "sv": "och i att det som en på är av för med den till inte de har om ett var jag men han sig "
    "från vi så kan man när hade ska nu",
}
_WORDS = {code: frozenset(words.split()) for code, words in _FREQUENT.items()}


@dataclass(frozen=True)
class Language:
    """A language that texts are written in.

    Attributes:
        code: as ISO 639-1 has it, such as ``"de"``.
        share: the share of all words that are frequent words of it.
    """

    code: str
    share: float

    @property
    def name(self) -> str:
        """Its name in English."""
        return NAMES[self.code]


def language_of(texts: Iterable[str]) -> Language | None:
    """The language that ``texts`` are mostly written in; None where no language stands out.

    That is so for languages which this module has no words of, for keywords and for numbers.
    """
    counts = Counter(
        word for text in islice(texts, LOOKED_AT) for word in WORD.findall(text.casefold())
    )
    total = sum(counts.values())
    if not total:
        return None
    shares = sorted(
        ((sum(counts[word] for word in words) / total, code) for code, words in _WORDS.items()),
        reverse=True,
    )
    (best, code), (second, _) = shares[:2]
    return Language(code, best) if best >= LEAST and best >= LEAD * second else None
