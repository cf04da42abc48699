"""Texts as readers of each language compare them: every script by hand, every form of Unicode by chance"""
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from ecg_audio_nb.research import text_normalization
from ecg_audio_nb.research.error_rates import cer, wer
from ecg_audio_nb.research.text_normalization import (
    CHARACTER_LANGUAGES,
    describe_normalization,
    normalize_text,
    numbers_in_words,
    scored_units,
    writes_numbers,
)
from ecg_audio_nb.speech.whisper import UNSPACED

NFD_VIETNAMESE = unicodedata.normalize("NFD", "Tiếng Việt")

# language, reference, hypothesis; words that are wrong, left out, put in, of the reference; the same in
# characters: errors, of the reference. Worked by hand from the language's rules; where a language has no
# spaces, its words are its characters.
PAIRS = [
    # Korean: marks of sentences, a wrong ending, spacing
    ("ko", "안녕하세요. 반갑습니다!", "안녕하세요 반갑습니다", (0, 0, 0, 2), (0, 10)),
    ("ko", "저는 학교에 갑니다", "저는 학교를 갑니다", (1, 0, 0, 3), (1, 8)),
    ("ko", "할 수 있습니다", "할수 있습니다", (1, 1, 0, 3), (0, 6)),
    # Japanese with English: spaces and brackets around Latin words, a wrong character, a voicing mark
    ("ja", "OpenAIの「GPT 4」です。", "Open AI の GPT４ です", (0, 0, 0, 13), (0, 13)),
    ("ja", "東京へ行く。", "東京へ来る", (2, 0, 0, 5), (2, 5)),
    ("ja", "がっこう", "かっこう", (1, 0, 0, 4), (1, 4)),
    ("ja", "ｶﾞｯｺｳ", "ガッコウ", (0, 0, 0, 4), (0, 4)),
    # Chinese with digits, Cantonese
    ("zh", "2024年，有２５人。", "2024 年 有 25 人", (0, 0, 0, 9), (0, 9)),
    ("zh", "2024年有25人", "2024年有26人", (1, 0, 0, 9), (1, 9)),
    ("yue", "佢喺度", "佢係度", (1, 0, 0, 3), (1, 3)),
    # Thai: a tone mark is a character; two ways to type ำ and แ
    ("th", "น้ำแข็ง", "นํ้าเเข็ง", (0, 0, 0, 7), (0, 7)),
    ("th", "น้ำแข็ง", "นำแข็ง", (0, 1, 0, 7), (1, 7)),
    ("lo", "ສະບາຍດີ", "ສະບາຍດິ", (1, 0, 0, 7), (1, 7)),
    ("my", "မြန်မာ", "မြန်မ", (0, 1, 0, 6), (1, 6)),
    ("km", "ភាសា ខ្មែរ", "ភាសាខ្មែរ", (0, 0, 0, 9), (0, 9)),
    ("bo", "བོད་སྐད།", "བོད་སྐད", (0, 0, 0, 6), (0, 6)),
    # Hindi, Bengali, Tamil, Malayalam: a vowel sign makes another word
    ("hi", "नमस्ते, दुनिया।", "नमस्ते दुनिया", (0, 0, 0, 2), (0, 12)),
    ("hi", "की", "का", (1, 0, 0, 1), (1, 2)),
    ("hi", "नमस्ते दुनिया", "नमस्ते दुनिय", (1, 0, 0, 2), (1, 12)),
    ("hi", "१२ लोग", "12 लोग", (0, 0, 0, 2), (0, 5)),
    ("bn", "কলকাতা শহর", "কলকাতা নগর", (1, 0, 0, 2), (2, 9)),
    ("ta", "தமிழ் மொழி", "தமிழ் மொழ", (1, 0, 0, 2), (1, 9)),
    ("ml", "അവന്\u200d വന്നു", "അവൻ വന്നു", (0, 0, 0, 2), (0, 8)),
    # Arabic: harakat and tatweel are taken or left, a hamza is not
    ("ar", "مَرْحَبًا بِكُم", "مرحبا بكم", (0, 0, 0, 2), (0, 8)),
    ("ar", "مرحـــبا بكم، ٣", "مرحبا بكم 3", (0, 0, 0, 3), (0, 9)),
    ("ar", "مرحبا بكم", "مرحبا بك", (1, 0, 0, 2), (1, 8)),
    ("ar", "أحمد هنا", "احمد هنا", (1, 0, 0, 2), (1, 7)),
    # Persian: two keyboards, the half space, the ezafe; Arabic yeh is a letter of its own elsewhere
    ("fa", "می‌خواهم بروم", "می خواهم بروم", (0, 0, 0, 2), (0, 11)),
    ("fa", "كتاب‌هاي علي", "کتابهای علی", (0, 0, 0, 2), (0, 10)),
    ("fa", "خانهٔ ما", "خانه ما", (0, 0, 0, 2), (0, 6)),
    ("fa", "کتاب خوب", "کتاب خوش", (1, 0, 0, 2), (1, 7)),
    ("ps", "زي", "زی", (1, 0, 0, 1), (1, 2)),
    ("ur", "يه كتاب", "یہ کتاب", (0, 0, 0, 2), (0, 6)),
    # Hebrew: niqqud, gershayim
    ("he", "שָׁלוֹם עוֹלָם", "שלום, עולם!", (0, 0, 0, 2), (0, 8)),
    ("he", "צה״ל", 'צה"ל', (0, 0, 0, 1), (0, 3)),
    ("he", "שלום עולם", "שלום עולים", (1, 0, 0, 2), (1, 8)),
    ("yi", "אַ מענטש", "א מענטש", (1, 0, 0, 2), (1, 7)),
    # Vietnamese in NFD; a tone makes another word
    ("vi", NFD_VIETNAMESE, "tiếng việt", (0, 0, 0, 2), (0, 9)),
    ("vi", "má tôi", "mà tôi", (1, 0, 0, 2), (1, 5)),
    # German: ß, compounds apart
    ("de", "Die STRASSE.", "die Straße", (0, 0, 0, 2), (0, 10)),
    ("de", "Leichenhalle", "Leichen-Halle", (1, 0, 1, 1), (0, 12)),
    ("de", "schon gut", "schön gut", (1, 0, 0, 2), (1, 8)),
    # French: spaces before marks, elision, accents
    ("fr", "Ça va ? « Oui ! »", 'ça va? "oui!"', (0, 0, 0, 3), (0, 7)),
    ("fr", "l’homme", "l'homme", (0, 0, 0, 2), (0, 6)),
    ("fr", "la pêche", "la péché", (1, 0, 0, 2), (2, 7)),
    # Turkish, Greek, Russian, Ukrainian
    ("tr", "ILIK İNCİR", "ılık incir", (0, 0, 0, 2), (0, 9)),
    ("tr", "ılık", "ilik", (1, 0, 0, 1), (2, 4)),
    ("el", "ΛΟΓΟΣ", "λογος", (0, 0, 0, 1), (0, 5)),
    ("ru", "Ёлка", "елка", (0, 0, 0, 1), (0, 4)),
    ("be", "ёлка", "елка", (1, 0, 0, 1), (1, 4)),
    ("uk", "П’ять м'ячів", "пʼять м‘ячів", (0, 0, 0, 2), (0, 11)),
    # emoji are not spoken: joined ones, skin tones, flags, keycaps
    ("de", "Super 👍🏽 👨‍👩‍👧 ❤️ 🇩🇪!", "super", (0, 0, 0, 1), (0, 5)),
    ("ja", "いいね👍🏽", "いいね", (0, 0, 0, 3), (0, 3)),
    # English: typographic apostrophes, other scripts inside
    ("en", "I don’t know what we’re doing", "I don't know what we're doing", (0, 0, 0, 8), (0, 24)),
    ("en", "The word is की", "the word is का", (1, 0, 0, 4), (1, 11)),
    ("en", "a café", "a cafe", (0, 0, 0, 2), (0, 5)),
]


@pytest.mark.parametrize("language, said, heard, words, characters", PAIRS)
def test_known_pairs(language, said, heard, words, characters):
    e = wer(said, heard, language)
    assert (e.substitutions, e.deletions, e.insertions, e.reference_words) == words
    assert cer(said, heard, language) == characters
    assert e.wer == pytest.approx(sum(words[:3]) / words[3]) and e.hits == words[3] - words[0] - words[1]


def test_what_the_reports_said():
    assert wer("की", "का", "hi").wer == 1.0
    assert normalize_text("नमस्ते दुनिया", "hi") == "नमस्ते दुनिया"
    assert wer("مَرْحَبًا بكم", "مرحبا بكم", "ar").wer == 0
    assert wer("I don’t know what we’re doing", "I don't know what we're doing").wer == 0
    said, heard = "할 수 있습니다 그것은 참 좋은 일입니다", "할수 있습니다 그것은 참좋은 일입니다"
    assert wer(said, heard, "ko").wer == pytest.approx(4 / 7) and cer(said, heard, "ko") == (0, 16)


def test_nothing_but_words_stands_between_words():
    for mark in "。、，।؟،–—…/·|_*#&":
        assert normalize_text(f"eins{mark}zwei", "de") == "eins zwei", mark
    for invisible in "\u200c\u200d\u00ad\u2060\ufeff\u200e\u202b\u2067\ufe0f":
        assert normalize_text(f"eins{invisible}zwei", "de") == "einszwei", ascii(invisible)
    assert normalize_text("eins\u200bzwei\u0000drei", "de") == "eins zwei drei"
    assert normalize_text("eins [Lachen] zwei (leise) <unk> drei", "de") == "eins zwei drei"


@pytest.mark.parametrize("name", ["Hindi", "hin", "hi-IN"])
def test_a_language_has_several_names(name):
    assert wer("की", "का", name).wer == 1.0 and describe_normalization(name).language == "hi"


# ---- by chance

SCRIPTS = (
    "नमस्तेकी दुनिया़ঁ্ தமிழ் สวัสดีน้ำเเํา ລາວຳ မြန်မာ 안녕하세요ㄱㅏ 日本語カﾞガ中文 العَرَبِيَّةفارسی\u200cمینمیهاة شָׁלוֹם Tiếng Việt"
    "İIıißςΣ ёЕ '’ʼ´\"״-–—.,!?()[]<>½²①㈱ﬁ😀👨\u200d👩❤\ufe0f\u200b\u00ad٣३０9\u0301\u0308\u0345"
)
LANGUAGES = "de hi bn ta ml th lo km my bo ar fa ur ps he yi ko ja zh yue vi tr uk ru el fr it".split()
texts = st.one_of(st.text(alphabet=SCRIPTS, max_size=40), st.text(max_size=25))
languages = st.sampled_from(LANGUAGES)


@settings(max_examples=500, deadline=None)
@given(texts, languages, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_a_text_is_itself_in_every_form_of_unicode(text, language, form):
    assert normalize_text(unicodedata.normalize(form, text), language) == normalize_text(text, language)


@settings(max_examples=300, deadline=None)
@given(texts, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_an_english_text_is_itself_in_every_form_of_unicode(text, form):
    assert normalize_text(unicodedata.normalize(form, text)) == normalize_text(text)


@settings(max_examples=500, deadline=None)
@given(texts, languages)
def test_what_is_normalized_stays_as_it_is(text, language):
    "Whisper's English normalizer alone is left out: it reads 'one o clock' otherwise than its own '1 0 clock'"
    once = normalize_text(text, language)
    assert normalize_text(once, language) == once


@settings(max_examples=300, deadline=None)
@given(texts, texts, st.sampled_from([*LANGUAGES, "en"]), st.booleans())
def test_errors_are_the_same_from_either_side(a, b, language, numbers):
    there, back = wer(a, b, language, numbers), wer(b, a, language, numbers)
    assert there.errors == back.errors and there.deletions - there.insertions == back.insertions - back.deletions
    assert cer(a, b, language, numbers)[0] == cer(b, a, language, numbers)[0]
    assert wer(a, a, language, numbers).errors == 0


TAKEN_OR_LEFT = set("'\u02bc\u02bb\u0640\u06e5\u06e6\u115f\u1160") # apostrophes, tatweel, small letters, fillers
BRACKETS = set("()[]<>")


def letters(text):
    "Letters and numbers of a text without their marks"
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = "".join(c for c in folded if c not in TAKEN_OR_LEFT and unicodedata.category(c) != "Cf")
    folded = folded.replace("\u0671", "\u0627").replace("เเ", "แ")
    return Counter(
        str(unicodedata.decimal(c)) if c.isdecimal() else c
        for c in unicodedata.normalize("NFD", folded)
        if unicodedata.category(c)[0] in "LN" or unicodedata.category(c) in ("Co", "Cn", "Cs")
    )


@settings(max_examples=500, deadline=None)
@given(texts.map(lambda t: "".join(c for c in t if c != "\u200d")))
def test_no_letter_vanishes(text):
    if BRACKETS & set(unicodedata.normalize("NFKC", text)): return
    assert letters(normalize_text(text, "de").replace(" ", "")) == letters(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="कखगतमயமழกนมবকািীেைোौ्்ঁ้็ิโಾൊ", min_size=1, max_size=12))
def test_no_mark_vanishes_but_one_without_a_letter(word):
    word = unicodedata.normalize("NFKC", word)
    start = next((i for i, c in enumerate(word) if unicodedata.category(c)[0] != "M"), len(word))
    for language in ("de", "hi", "en"): assert normalize_text(f"x {word}", language) == f"x {word[start:]}".strip()


# ---- which way

def test_one_list_says_what_is_scored_by_character():
    assert CHARACTER_LANGUAGES is UNSPACED
    for language in CHARACTER_LANGUAGES: assert scored_units("ab c", language) == ["a", "b", "c"]
    assert scored_units("ab c", "ko") == ["ab", "c"]


@pytest.mark.parametrize(
    "language, unit, first, text",
    [
        ("en", "word", "wer", "English: typographic marks folded; Whisper's English normalizer, which writes"),
        ("hi", "word", "wer", "Hindi: NFKC, case folding, punctuation and text in brackets removed; marks are lett"),
        ("ko", "word", "cer", "Korean: NFKC"),
        ("th", "character", "cer", "Thai: NFKC"),
        ("fa", "word", "wer", "Persian: NFKC"),
        ("xx", "word", "wer", "xx: NFKC"),
    ],
)
def test_it_is_told(language, unit, first, text):
    how = describe_normalization(language)
    assert (how.unit, how.first_rate) == (unit, first) and str(how).startswith(text)
    assert wer("a", "a", language).normalization == how


def test_what_is_special_is_told():
    assert "harakat and tatweel dropped" in describe_normalization("ar").steps
    assert "by character, without spaces" in describe_normalization("ja").steps
    assert "ё as е" in describe_normalization("ru").steps
    told = [describe_normalization(language, numbers=True).steps[-1] for language in ("de", "hi")]
    assert told == ["numbers in words", "numbers as they stand"]


# ---- numbers

@pytest.mark.parametrize(
    "language, digits, words",
    [
        ("en", "25", "twenty five"),
        ("en", "1999", "nineteen ninety nine"),
        ("de", "25", "fünfundzwanzig"),
        ("de", "25", "fünf und zwanzig"),
        ("de", "1999", "neunzehnhundertneunundneunzig"),
        ("de", "1999", "eintausendneunhundertneunundneunzig"),
        ("de", "Um 10:30 Uhr,", "um zehn uhr dreißig uhr"),
        ("de", "2,5 Millionen", "zwei Komma fünf Millionen"),
        ("de", "20 %", "zwanzig Prozent"),
        ("nl", "25 mensen", "vijfentwintig mensen"),
        ("nl", "22", "tweeëntwintig"),
        ("fr", "80 ans", "quatre-vingts ans"),
        ("fr", "1 250 euros", "mille deux cent cinquante euros"),
        ("es", "22", "veintidós"),
        ("es", "250 personas", "doscientas cincuenta personas"),
        ("it", "23", "ventitré"),
        ("it", "1.250", "milleduecentocinquanta"),
        ("pt", "16", "dezasseis"),
        ("pt", "16", "dezesseis"),
        ("ru", "25", "двадцать пять"),
        ("pl", "25", "dwadzieścia pięć"),
        ("cs", "25", "dvacet pět"),
        ("tr", "%25", "yüzde yirmi beş"),
        ("fi", "25", "kaksikymmentäviisi"),
        ("vi", "25", "hai mươi lăm"),
        ("ko", "25일", "이십오 일"),
        ("ko", "2024년", "이천이십사년"),
        ("ja", "25人", "二十五人"),
        ("ja", "2024年", "二〇二四年"),
        ("ja", "25", "にじゅうご"),
        ("zh", "2024年", "二〇二四年"),
        ("zh", "200人", "两百人"),
    ],
)
def test_numbers_in_digits_and_in_words_are_the_same(language, digits, words):
    assert wer(digits, words, language, numbers=True).errors == 0
    assert wer(words, digits, language, numbers=True).errors == 0
    if language != "en": assert wer(digits, words, language).errors > 0


def test_another_number_is_an_error():
    assert wer("mit 26 Leuten", "mit fünfundzwanzig Leuten", "de", numbers=True).substitutions == 1
    assert wer("mit 26 Leuten", "mit 25 Leuten", "de", numbers=True).errors == 1
    assert cer("26人", "二十五人", "ja", numbers=True) == (1, 4)


def test_a_number_is_written_alike_on_both_sides():
    said, heard = "Erst 25, dann 25", "erst 25 dann fünf und zwanzig"
    assert wer(said, heard, "de", numbers=True).errors == 0
    assert numbers_in_words([said, heard], "de") == {"25,": ["fünf", "und", "zwanzig"], "25": ["fünf", "und", "zwanzig"]}


def test_the_sixteen_languages_with_number_words():
    assert {c for c in LANGUAGES + "en es nl pt pl cs fi".split() if writes_numbers(c)} == set(
        "en de nl fr es it pt ru pl cs tr fi vi ko ja zh".split()
    )
    assert wer("12 लोग", "बारह लोग", "hi", numbers=True).errors == 1 and numbers_in_words(["12"], "hi") == {}


def test_english_normalizer_is_loaded_once():
    normalize_text("a")
    assert text_normalization._whisper_english() is text_normalization._whisper_english()
