"""Write numbers in words: `assets/numbers.toml` has each language's words, this module the grammar.

Numbers up to 12 digits, decimals, times of day, years and English ordinals. A language without a grammar
reads digit by digit; one without words for digits gives none.
"""
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


def pairs(
    text:str, # "ch=CH qu=K_W"
)->dict[str, str]: # {"ch": "CH", "qu": "K W"}
    "Read a table of one line or several"
    entries = (entry.rpartition("=") for entry in text.split())
    return {key: value.replace("_", " ") for key, _, value in entries}


@cache
def table(
    name:str, # "letters" or "numbers"
)->dict: # the TOML file of that name
    "Read a table of the package"
    return tomllib.loads((files("ecg_audio_nb") / f"assets/{name}.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class NumberWords:
    "A language's words for numbers and symbols; the fields are explained in `assets/numbers.toml`"
    small:tuple[str, ...] = ()
    tens:tuple[str, ...] = ()
    hundreds:tuple[str, ...] = ()
    digits:tuple[str, ...] = ()
    places:tuple[str, ...] = ()
    myriads:tuple[str, ...] = ()
    thousand:tuple[str, ...] = ()
    million:tuple[str, ...] = ()
    billion:tuple[str, ...] = ()
    exact:dict[str, str]|None = None
    after_tens:dict[str, str]|None = None
    feminine:dict[str, str]|None = None
    one:dict[str, str]|None = None
    symbols:dict[str, str]|None = None
    units:dict[str, str]|None = None
    words:dict[str, str]|None = None
    pair:str = "{ten} {unit}"
    rest:str = ""
    zero_ten:str = ""
    plural:str = ""
    group:str = ""
    point:str = ""
    fraction:str = "digits"
    minus:str = ""
    hour:str = ""
    minute:str = ""
    before:str = ""


LISTS = ("small", "tens", "hundreds", "digits", "places", "myriads", "thousand", "million", "billion")
MAPS = ("exact", "after_tens", "feminine", "one", "symbols", "units", "words")


@cache
def number_words(
    language:str|None, # Whisper's code
)->NumberWords:
    "Return the number words of a language; an empty table if there is none"
    section = dict(table("numbers").get(language or "", {}))
    for name in LISTS: section[name] = tuple(word.replace("_", " ") for word in section.get(name, "").split())
    for name in MAPS: section[name] = pairs(section.get(name, ""))
    return NumberWords(**section)


def below_hundred(
    n:int,
    words:NumberWords,
)->str:
    "Write 0 to 99 in words"
    if str(n) in words.exact: return words.exact[str(n)]
    if n < len(words.small): return words.small[n]
    ten, unit = divmod(n, 10)
    tens = words.tens
    if ten > 2 and tens[ten - 2] == tens[ten - 3]: unit += 10 # soixante-dix
    if unit == 0: return tens[ten - 2]
    return words.pair.format(ten=tens[ten - 2], unit=words.after_tens.get(str(unit), words.small[unit]))


def below_thousand(
    n:int,
    words:NumberWords,
)->str:
    "Write 0 to 999 in words"
    hundreds, rest = divmod(n, 100)
    if hundreds == 0 or str(n) in words.exact: return below_hundred(n, words)
    if rest == 0: return words.hundreds[hundreds - 1]
    between = words.zero_ten if rest < 10 and words.zero_ten else words.rest
    return " ".join(f"{words.hundreds[hundreds - 1]} {between} {below_hundred(rest, words)}".split())


def plural_form(
    n:int,
    forms:tuple[str, ...], # after 1, after a few, after many
    rule:str, # of the language
)->str:
    "Choose the form of a noun after a number"
    last, teen = n % 10, 10 < n % 100 < 20
    if rule == "last digit": one = last == 1 and not teen
    else: one = n == 1
    if one or len(forms) == 1: return forms[0]
    if rule == "two to four": few = 1 < n < 5
    else: few = bool(rule) and 1 < last < 5 and not teen
    return forms[1] if few else forms[-1]


def thousands(
    count:int, # of them
    name:str, # "thousand", "million" or "billion"
    words:NumberWords,
)->str:
    "Write a count of thousands, millions or billions in words"
    form = plural_form(count, getattr(words, name), words.plural)
    if count == 1: return f"{words.one.get(name, words.small[1])} {form}"
    number = by_thousands(count, words).split()
    if name == "thousand" and count % 100 not in (11, 12):
        number[-1] = words.feminine.get(str(count % 10), number[-1])
    return f"{' '.join(number)} {form}"


def by_thousands(
    n:int, # below a million of millions
    words:NumberWords,
)->str:
    "Write a number in words, in the languages that group by thousands"
    spoken = []
    for name, size in (("billion", 10**9), ("million", 10**6), ("thousand", 1000)):
        if not getattr(words, name): continue
        count, n = divmod(n, size)
        if count: spoken.append(thousands(count, name, words))
    if n or not spoken:
        if spoken and (n <= 100 or n % 100 == 0): spoken.append(words.rest)
        spoken.append(below_thousand(n, words))
    return " ".join(" ".join(spoken).split())


def four_digits(
    n:int, # below 10,000
    words:NumberWords,
    keep_one:bool, # Chinese says the one of 110, Korean and Japanese do not
)->str:
    "Write a number of four digits in Chinese, Japanese or Korean words"
    spoken, gap = "", False
    for place in (3, 2, 1, 0):
        digit = n // 10**place % 10
        if digit == 0:
            gap = bool(spoken)
            continue
        if gap and keep_one: spoken += words.digits[0]
        gap = False
        omits_one = digit == 1 and place and not (keep_one and (place > 1 or spoken))
        number = "" if omits_one else words.digits[digit]
        if place: number += words.places[place - 1]
        spoken += words.exact.get(str(digit * 10**place), number)
    return spoken


def by_myriads(
    n:int,
    words:NumberWords,
    language:str,
)->str: # one word
    "Write a number in words, in the languages that group by ten thousand"
    spoken = ""
    for power, name in ((3, words.myriads[2]), (2, words.myriads[1]), (1, words.myriads[0]), (0, "")):
        group = n // 10**(4 * power) % 10**4
        number = four_digits(group, words, language == "zh")
        if language == "ko" and power == 1 and group == 1: number = ""
        if language == "ja" and power and group == 1: number = words.digits[1]
        if group: spoken += number + name
    return spoken or words.digits[0]


def digit_words(
    digits:str, # "007"
    words:NumberWords,
)->list[str]:
    "Write digits one by one in words"
    names = words.small or words.digits
    if not names: return []
    return [name for digit in digits for name in names[int(digit)].split()]


def integer_words(
    digits:str, # "1250"
    language:str|None, # Whisper's code
)->list[str]: # as spoken; empty if the language's words are not known
    "Write a whole number in words"
    words = number_words(language)
    if len(digits) > 12 or digits[0] == "0" and len(digits) > 1: return digit_words(digits, words)
    if words.myriads: return [by_myriads(int(digits), words, language)]
    if words.hundreds: return by_thousands(int(digits), words).split()
    return digit_words(digits, words)


def parse_number(
    text:str, # "1,250.5"
    group:str, # the language's separator of thousands
)->tuple[list[str], str]: # whole numbers, in order; digits after the point
    "Separate a number's whole part from its fraction, whatever marks the thousands"
    group, text = group or ",", re.sub(r"['’\s]", "", text)
    grouped = {" ": ".", "": ","}.get(group, group)
    point = "," if grouped == "." else "."
    if re.fullmatch(rf"\d{{1,3}}(?:\{grouped}\d{{3}})+(?:\{point}\d+)?", text):
        text = text.replace(grouped, "")
    parts = re.split("[.,]", text)
    return (parts[:1], parts[1]) if len(parts) == 2 else (parts, "")


def fraction_words(
    fraction:str, # digits after the point
    language:str|None,
)->list[str]:
    "Write the digits after the point in words"
    words = number_words(language)
    as_number = words.fraction == "number" and fraction[0] != "0" and len(fraction) < 4
    if as_number: return integer_words(fraction, language)
    return digit_words(fraction, words)


def time_words(
    text:str, # "10:30"
    language:str|None,
)->list[str]:
    "Write a time of day, or a ratio, in words"
    words, numbers = number_words(language), text.split(":")
    spoken = [integer_words(str(int(number)), language) for number in numbers]
    if len(numbers) > 2: return [word for part in spoken for word in part]
    hour, minute = spoken
    if language == "en" and numbers[1] == "00": return [*hour, "o'clock"]
    if language == "en" and numbers[1][0] == "0": return [*hour, "oh", *minute]
    if int(numbers[1]): minute = minute + words.minute.split()
    else: minute = []
    return [*hour, *words.hour.split(), *minute]


def quantity_words(
    text:str, # a number as written
    language:str|None,
)->list[str]:
    "Write a number with its separators in words"
    if ":" in text: return time_words(text, language)
    words = number_words(language)
    whole, fraction = parse_number(text, words.group)
    spoken = [word for number in whole for word in integer_words(number, language)]
    if spoken and fraction: spoken += words.point.split() + fraction_words(fraction, language)
    return spoken


def year_words(
    digits:str, # "1999"
    language:str|None,
)->list[str]: # empty if it is no year that is read so
    "Write a year as pairs: English nineteen ninety nine, German neunzehn hundert neun und neunzig"
    century, rest = int(digits[:2]), digits[2:]
    if not 10 < century < 21 or century == 20 and language != "en": return []
    hundred = {"en": "hundred", "de": "hundert", "nl": "honderd"}.get(language)
    if hundred is None: return []
    first, second = integer_words(str(century), language), integer_words(str(int(rest)), language)
    if rest == "00": return [*first, hundred]
    if language != "en": return [*first, hundred, *second]
    if rest[0] == "0": return [*first, "oh", *second]
    return [*first, *second]


ORDINALS = pairs("one=first two=second three=third five=fifth eight=eighth nine=ninth twelve=twelfth")


def ordinal(
    words:list[str], # "twenty", "one"
)->list[str]: # "twenty", "first"
    "Make an English number an ordinal"
    last = words[-1]
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return [*words[:-1], ORDINALS.get(last, regular)]


def plural(
    words:list[str], # "nineteen", "ninety"
)->list[str]: # "nineteen", "nineties"
    "Put an English number in the plural: the 1990s"
    last = words[-1]
    if last.endswith("y"): return [*words[:-1], last[:-1] + "ies"]
    return [*words[:-1], last + "s"]


def as_year(text:str, language:str|None)->list[str]:
    "Write numbers of four digits as years, others as quantities"
    year = year_words(text, language) if re.fullmatch(r"\d{4}", text) else []
    return year or quantity_words(text, language)


def as_digits(text:str, language:str|None)->list[str]:
    "Write short numbers digit by digit (911), others as quantities"
    if re.fullmatch(r"\d{3,6}", text): return digit_words(text, number_words(language))
    return quantity_words(text, language)


def with_and(text:str, language:str|None)->list[str]:
    "Write a number with the English 'and': one hundred and five"
    spoken = " ".join(quantity_words(text, language))
    if language == "en": spoken = re.sub(" hundred (?!thousand|million|billion)", " hundred and ", spoken)
    return spoken.split()
