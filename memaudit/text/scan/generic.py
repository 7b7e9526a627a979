"""What words of an item weigh as evidence: grammar little, the wording of tests nothing.

A sentence made of such words alone ("Which of the following statements is true?", "None of the above") occurs in any
corpus of some size, and tells nothing of one benchmark. The lists are fixed: what a word weighs must not depend on the
corpus, or copies of a leaked item would make it lighter.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK
from memaudit.text.words.span_kernels import hash_spans
from memaudit.text.words.words import encode_texts, hash_words

GRAMMAR, NUMBER, IDEOGRAPH = 0.25, 0.5, 0.5
"""What a word of grammar weighs, a number below 10,000, and a character of a script that sets no spaces; a word of the
wording of tests or a single letter weighs 0, any other word 1."""

_STOCK = """
above accurate accurately agree agrees all almost always answer answered answering answers applies apply argue argues
argument assertion assume assumed assumes assuming assumption author authors believe below best blank both calculate
characteristic characteristics choice choices choose chosen claim claims compare compute conclude concluded conclusion
condition conditions consistent context contrast correct correctly could defined definition depend depends describe
described describes describing description determine determined disagree disagrees discuss discussed either evaluate
evidence exam except excerpt exercise exhibit explain explained explains explanation expression false fill find
following foregoing given how hypothesis idea identify illustrate illustrated illustrates implied implies imply
inaccurate incorrect incorrectly indicate indicated indicates infer instruction instructions invalid justify least
likely main many mention mentioned mentions most much neither never none note observed opinion opinions options own
paragraph passage phrase pick possible possibly preceding predict previous primarily primary probably prompt purpose
question questions quiz rarely refer referred refers reflect reflects regarding represent represented represents
respectively respond response scenario scenarios score select selected sentence sentences solution solutions solve
some sometimes somewhat statement statements step steps strongly suggest suggested suggests suitable summarize summary
topic true truth typical typically undetermined unknown unsupported valid verify what when where which who whom whose
why write writing written wrong your
afirmacion afirmaciones anterior anteriores autor correcta correctas correcto cual cuales cuando cuanto cuantos donde
enunciado enunciados falsa falsas falso frase incorrecta mejor ninguna ninguno opcion opciones oracion parrafo pasaje
peor pregunta preguntas que quien quienes respuesta respuestas siguiente siguientes texto todas todos verdadera
verdaderas verdadero
affirmation affirmations aucun aucune auteur choix ci comment correcte correctes dessous dessus enonce enonces fausse
fausses faux incorrecte laquelle lequel lesquelles lesquels meilleure paragraphe parmi pourquoi quand quel quelle
quelles quels qui quoi reponse reponses suivant suivante suivantes suivants texte tous toutes vrai vraie vraies
abschnitt alle antwort antworten aussage aussagen falsch folgende folgenden folgender frage fragen genannten keine
keiner moglichkeit oben richtig richtige satz stimmt trifft unten wahr wann warum was welche welchem welchen welcher
welches wer wie wo
affermazione affermazioni autore brano corretta corrette corretto cosa domanda domande dove nessuna nessuno opzione
opzioni perche precedenti quale quali quando risposta risposte seguente seguenti testo tutte tutti vera vere vero
afirmacao afirmacoes alternativa alternativas correta corretas correto incorreta nenhum nenhuma opcao opcoes paragrafo
pergunta perguntas quais qual quem questao resposta respostas seguinte seguintes trecho verdadeira verdadeiras
verdadeiro
antwoord antwoorden bewering beweringen bovenstaande geen hoe juist onjuist onwaar tekst volgende vraag vragen waar
waarom wanneer wat welke
автор вариант варианты верно верные верным вопрос вопросы все всего где из какая какие каких какой когда кто неверно
ни ответ ответы перечисленных почему правильно правильный сколько следующее следующие следующих текст утверждение
утверждений утверждения что
ii iii iv ix vi vii viii xi xii xiii xiv xix xv xvi xvii xviii xx
列项选错误正确答案问题叙述法关些哪什么几次
"""
"""The wording of tests: English, Spanish, French, German, Italian, Portuguese, Dutch, Russian, numerals, Chinese."""
_GRAMMAR = """
a about across after again against along already also although am among an and another any appropriate are around as
at away be became because become been before behind being between beyond but by came can cannot cant category chart
diagram did didnt do does doesnt doing done dont down during each eight else enough even ever every example examples
far feature few fewer figure first five for four from further get gets graph had hadnt has hasnt have havent having he
hence her here hers herself him himself his however i if in indeed inferred information input instead into is isnt it
item items its itself just last later less let lets like line lines list listed made make makes match may maybe me
might mine more moreover must my myself name near next nine no nor not now of off often on once one only onto option
or other others otherwise our ours ourselves out output over per perhaps quite rather read reading really reason
result same sample say says second section see seem seems seven several shall she should shouldnt show shown shows
since situation six so soon still student students subject such support supported supports table take task ten term
terms test tests text than that thats the their theirs them themselves then there therefore theres these they third
this those though three through thus title to today together too toward towards two under unless until up upon us use
used uses using very via want wasnt we well went were werent whatever whether while will with within without wont word
words would wouldnt yes yet you yours yourself zero
appreciate attached attention carefully click consideration contact cookies copyright dear download email facebook
forward hello hesitate instagram kindly link links login menu newsletter newsletters please policy privacy reasoning
regards reserved sign sincerely site sites subscribe subscribers subscription terms thank thanks twitter website
websites welcome www
arg args arr bool char class const def del dict elif enum err extends float foreach func import init int isinstance
lambda len lst namespace nil null num nums param params pass print private protected public res return self static str
struct throw throws tuple typedef typing val var void yield
al ante antes bajo bien cada como con contra de desde dos e el ella ellas ellos en entre era eran es esa esas ese eso
esos esta estan estas este esto estos fue fueron ha han hasta hay la las le les lo los mas mi muy nada ni nos o otra
otras otro otros para pero por porque se segun ser si sido siempre sin sino sobre solo son su sus tal tambien tan
tanto te tiene tienen toda todo tres tu un una uno unos y ya
ai au autre autres aux avec ce cela celle celles celui ces cet cette ceux chaque dans des donc du elle elles est et
etait etre eu faire fait il ils je leur leurs lui mais meme moins ne nous ont ou par pas peut plus pour qu sa sans
selon ses sont sous sur ta toujours tout toute une vous
aber allem allen aller alles als andere anderen auch auf aus bei beide beiden beim bin bis das dass dem den denn der
dessen dich die dies diese diesem diesen dieser dieses doch dort durch ein eine einem einen einer eines er etwas fur
gegen haben hat hatte hier ich ihm ihn ihr ihre im immer ins ist ja jede jedem jeden jeder jedes kann kein keinem
keinen konnen man mehr mit muss nach nicht nichts noch nur ob oder ohne sehr sein seine sich sie sind soll uber um und
uns unter viel vom von vor war waren weil wenn werden wir wird wurde zu zum zur zwei zwischen
ad alla allo anche che chi come cui da dal dalla dalle dei della delle dello di ed essere fra gli hanno io lei loro ma
nei nel nella non ogni piu quanto quella quelli quello questa queste questi questo secondo senza sia sono stata stato
sua sue sul sulla suo tra tutto
ao aos ate com dela dele ela elas ele eles em essa esse estes foi foram isso isto mesmo muito na nao nas nem os outra
outras outro outros pela pelas pelo pelos sao sem seu seus suas tambem tem uma umas
aan bij dan dat deze dit door een haar heeft het hij hun ik kan maar meer met naar niet nog om onder ook op tot uit
van veel voor worden wordt ze zich zijn zo
а без более бы был была были было быть в вам вас весь во вот всех вы да для до его ее если есть еще же за здесь и или
им их к как которая которые который ли либо мне много может можно мы на над не него нее нет них но ну о об один одна
одно он она они оно от очень по под после при с свой себя со так также такой там то того тоже той только том ты у уже
чего чем чтобы эта эти это этого этот я
のにをはがとでもやへかなたしす 的一是不了在有和人这中大为上个我以要他时来用们到说于也就对会可主同下得着与及或之其者呢吗
"""
"""Grammar of the same languages, and of code."""


def weights_of(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return what words weigh as evidence, in [0, 1], wherever they occur.

    Args:
        hashes: Words, as `hash_words` gives them; shape [words].
    """
    known, weights = _known()
    places = np.searchsorted(known, hashes).clip(max=len(known) - 1)
    return np.where(known[places] == hashes, weights[places], 1.0)


_FIRST_IDEOGRAPH, _LAST_IDEOGRAPH = 0x3400, 0x9FFF


@cache
def _known() -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return the words that weigh less than 1, in the order of their hashes, and what they weigh."""
    weighed: dict[int, float] = dict.fromkeys(_ideographs(), IDEOGRAPH)
    weighed |= dict.fromkeys(_hashes(_syllables()), IDEOGRAPH)
    weighed |= dict.fromkeys(_hashes(" ".join(map(str, range(10_000)))), NUMBER)
    weighed |= dict.fromkeys(_hashes(_GRAMMAR), GRAMMAR)
    weighed |= dict.fromkeys(_hashes(_STOCK + " ".join("abcdefghijklmnopqrstuvwxyz")), 0.0)
    order = sorted(weighed)
    return np.array(order, np.uint64), np.array([weighed[word] for word in order])


def _syllables() -> str:
    """Return the characters of kana, Thai, Lao, Myanmar and Khmer, which are words of their own as ideographs are."""
    ranges = ((0x3041, 0x30FF), (0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
    return " ".join(chr(code) for first, last in ranges for code in range(first, last + 1))


def _ideographs() -> list[int]:
    """Return the hashes of unified ideographs, as `hash_words` would after half a second of finding that none folds."""
    count, width = _LAST_IDEOGRAPH - _FIRST_IDEOGRAPH + 1, 4
    data = "\0".join(map(chr, range(_FIRST_IDEOGRAPH, _LAST_IDEOGRAPH + 1))).encode()
    buffer = np.zeros(len(data) + BLOCK, np.uint8)
    buffer[: len(data)] = np.frombuffer(data, np.uint8)
    starts = np.arange(0, width * count, width, dtype=np.int32)
    hashes = np.empty(count, np.uint64)
    hash_spans(buffer, np.stack([starts, starts + width - 1], axis=1).ravel(), count, hashes, 0)
    return [int(word) for word in hashes]


def _hashes(text: str) -> list[int]:
    return [int(word) for word in hash_words(*encode_texts([text]))[0]]
