"""Make the pronunciation tables of `ecg_audio_nb.speech.phones` from the files they come from.

    pip download --no-deps pocketsphinx==5.1.1        # holds cmudict-en-us.dict
    apt-get install unicode-data mecab-ipadic         # Unihan_Readings.txt.bz2 and the CSV files of IPADIC
    python scripts/make_pronunciations.py --cmudict cmudict-en-us.dict

Each table is text, gzipped without a date, so the same sources give the same bytes:

    english.txt.gz    word, its pronunciations: a letter a phone, A the first of `phones.PHONES`; in order
    hanzi.txt.gz      a pinyin syllable without tone, the characters read so; then second readings
    japanese.txt.gz   kanji, readings in compounds, readings alone or before kana; then words that differ
"""

import argparse, bz2, gzip, hashlib, re, unicodedata
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

from ecg_audio_nb.speech.east_asian import katakana
from ecg_audio_nb.speech.phones import PHONES

FOLDER = Path(__file__).parents[1] / "ecg_audio_nb/assets/models"
KANJI = re.compile("[㐀-䶿一-鿿々]")


def write(name, lines):
    "Write a table; print what NOTICE says of it"
    content = gzip.compress("\n".join(lines).encode(), 9, mtime=0)
    (FOLDER / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{name}: {len(lines)} lines, size {len(content)} bytes, sha256 {digest}")


# ---------------------------------------------------------------- English
def english(path):
    "Lines of the CMU dictionary: every word with all its pronunciations"
    code = {phone: chr(ord("A") + i) for i, phone in enumerate(PHONES)}
    words = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        words[re.sub(r"\(\d+\)$", "", word)].append("".join(code[p] for p in phones))
    return sorted(" ".join([word, *dict.fromkeys(found)]) for word, found in words.items())


# ---------------------------------------------------------------- Chinese
def unihan(path, *fields):
    "field -> character -> value, of Unicode's Unihan_Readings.txt"
    table = {field: {} for field in fields}
    with bz2.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("U+"):
                code, field, value = line.rstrip("\n").split("\t")
                if field in table:
                    table[field][chr(int(code[2:], 16))] = value
    return table


def toneless(syllable):
    "lǜ -> lv"
    marks = unicodedata.normalize("NFD", syllable).replace("u\u0308", "v")
    return re.sub("[^a-z]", "", marks)


def hanzi(readings):
    "Characters by syllable: the usual reading (kMandarin), then others of 2 % or more (kHanyuPinlu)"
    first, second = defaultdict(str), defaultdict(str)
    for char, value in sorted(readings["kMandarin"].items()):
        if not KANJI.match(char):
            continue
        usual = toneless(value.split()[0])
        first[usual] += char
        counts = Counter()
        found = re.findall(r"(\S+)\((\d+)\)", readings["kHanyuPinlu"].get(char, ""))
        for syllable, n in found:
            counts[toneless(syllable)] += int(n)
        for syllable, n in counts.items():
            if syllable != usual and n >= 0.02 * counts.total():
                second[syllable] += char
    table = lambda chars: [f"{syllable} {chars[syllable]}" for syllable in sorted(chars)]
    return [*table(first), "", *table(second)]


# ---------------------------------------------------------------- Japanese
VOICED = dict(zip("カキクケコサシスセソタチツテトハヒフヘホ", "ガギグゲゴザジズゼゾダヂヅデドバビブベボ"))
HALF_VOICED = dict(zip("ハヒフヘホ", "パピプペポ"))
ROMAJI = {
    "": "アイウエオ",
    "K": "カキクケコ",
    "G": "ガギグゲゴ",
    "S": "サシスセソ",
    "Z": "ザジズゼゾ",
    "T": "タチツテト",
    "D": "ダヂヅデド",
    "N": "ナニヌネノ",
    "H": "ハヒフヘホ",
    "B": "バビブベボ",
    "P": "パピプペポ",
    "M": "マミムメモ",
    "R": "ラリルレロ",
}
SOUNDS = {a + v: kana for a, row in ROMAJI.items() for v, kana in zip("AIUEO", row)}
SOUNDS |= dict(zip("SHI JI CHI TSU FU YA YU YO WA N".split(), "シジチツフヤユヨワン"))
for onset, kana in zip("KY GY SH J CH NY HY BY PY MY RY".split(), "キギシジチニヒビピミリ"):
    SOUNDS |= {onset + v: kana + small for v, small in zip("AUO", "ャュョ")}
NAMES = ("Noun.name", "Noun.place", "Noun.org")  # files whose readings are no readings of common words
COMMON, RARE = 6000, 9500  # costs of IPADIC: log probabilities, about 700 a factor of e; rarer words stay out


def to_katakana(romaji):
    "GYOU -> ギョウ"
    kana, i = "", 0
    while i < len(romaji):
        n = next((n for n in (3, 2, 1) if romaji[i : i + n] in SOUNDS), 0)
        if not n:
            return ""
        kana, i = kana + SOUNDS[romaji[i : i + n]], i + n
    return kana


def entries(folder):
    "(file, surface, reading, cost, base form) of IPADIC's words with kanji"
    for path in sorted(folder.glob("*.csv")):
        for line in path.read_text(encoding="euc-jp").splitlines():
            row = line.split(",")
            if len(row) > 11 and KANJI.search(row[0]):
                yield path.stem, row[0], row[11], int(row[3]), row[10]


def stem_reading(surface, reading):
    "Reading of the one kanji in a word that is otherwise kana; empty if it cannot be told"
    head, char, tail = re.fullmatch("([ぁ-ゖ]*)(.)([ぁ-ゖ]*)", surface).groups()
    head, tail = katakana(head), katakana(tail)
    if not (reading.startswith(head) and reading.endswith(tail)):
        return ""
    return reading[len(head) : len(reading) - len(tail)]


def variants(reading):
    "What a reading becomes inside a word: voiced, half voiced, its last sound doubled into the next"
    starts = {reading[0], VOICED.get(reading[0], reading[0]), HALF_VOICED.get(reading[0], reading[0])}
    ends = (
        {reading[1:], reading[1:-1] + "ッ"}
        if len(reading) > 1 and reading[-1] in "クキツチ"
        else {reading[1:]}
    )
    return {start + end for start in starts for end in ends}


def split_reading(word, reading, known):
    "The readings of a compound's characters, or None"
    if not word:
        return [] if not reading else None
    for base in known.get(word[0], ()):
        for said in variants(base):
            if not reading.startswith(said):
                continue
            rest = split_reading(word[1:], reading[len(said) :], known)
            if rest is not None:
                return [base, *rest]
    return None


def japanese(folder, on_readings):
    "Readings of characters in compounds and alone, then of the words that these do not give"
    alone, inside = defaultdict(Counter), defaultdict(Counter)
    compounds, lemmas = defaultdict(dict), Counter()
    weight = lambda cost: 2.0 ** (-cost / 700)
    for file, surface, reading, cost, lemma in entries(folder):
        if file in NAMES and cost > COMMON and surface not in compounds:
            continue
        chars = KANJI.findall(surface)
        if len(chars) == 1 and re.fullmatch("[ぁ-ゖ]*.[ぁ-ゖ]*", surface) and file not in NAMES:
            key = chars[0], stem_reading(surface, reading), lemma
            if key[1]:
                lemmas[key] = max(weight(cost), lemmas[key])
        elif len(chars) == len(surface) and 2 <= len(surface) <= 4:
            compounds[surface][reading] = min(cost, compounds[surface].get(reading, cost))
    for (char, stem, _), n in lemmas.items():
        alone[char][stem] += n
    known = {char: [*filter(None, map(to_katakana, value.split()))] for char, value in on_readings.items()}
    for char, counts in alone.items():
        known[char] = list(dict.fromkeys([*known.get(char, []), *counts]))
    for word, found in compounds.items():
        for reading, cost in found.items():
            parts = split_reading(word, reading, known) or ()
            for char, base in zip(word, parts):
                inside[char][base] += weight(cost)
    chars = sorted({*alone, *inside})
    best = lambda counts: [reading for reading, n in counts.most_common(4) if n > 0.03 * counts.total()]
    usual, lone = {c: best(inside[c])[:3] for c in chars}, {c: best(alone[c]) for c in chars}
    lines = [f"{c} {','.join(usual[c])} {','.join(lone[c])}" for c in chars if usual[c] or lone[c]]
    words = []
    for word, found in sorted(compounds.items()):
        low = min(found.values())
        readings = sorted(found, key=lambda reading: (found[reading], reading))[:2]
        composed = {"".join(way) for way in product(*(usual.get(c, [])[:1] for c in word))}
        if readings[0] in composed or low > RARE:
            continue
        irregular = split_reading(word, readings[0], usual) is None  # not even with a voiced or doubled sound
        if irregular or low <= COMMON:
            words.append(f"{word} {','.join(readings)}")
    return [*lines, "", *words]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cmudict", type=Path, required=True, help="cmudict-en-us.dict of pocketsphinx")
    parser.add_argument("--unihan", type=Path, default=Path("/usr/share/unicode/Unihan_Readings.txt.bz2"))
    parser.add_argument("--ipadic", type=Path, default=Path("/usr/share/mecab/dic/ipadic"))
    args = parser.parse_args()
    readings = unihan(args.unihan, "kMandarin", "kHanyuPinlu", "kJapaneseOn")
    write("english.txt.gz", english(args.cmudict))
    write("hanzi.txt.gz", hanzi(readings))
    write("japanese.txt.gz", japanese(args.ipadic, readings["kJapaneseOn"]))
