"""Results that tests make up: by hand, and by Hypothesis with any text that Unicode can write"""
from hypothesis import strategies as st

from ecg_audio_nb.schema import Analysis, Metadata, Segment, Speaker, Turn, Word

AWKWARD = [
    "a", "yes,", "Okay.", "market", "extraordinarily", "[noise]", "R&D", "<b>", "</i>", "<i", "{\\an8}", "{b}", "{Y:i}",
    "C:\\new", "7", "100%", "안녕하세요", "東京", "--", "-->", "->", '"quoted"', "x" * 60, "😀", "👩‍👩‍👧", "{x}", "a\\N",
    "\\{", "{\\p1}", "}", "&amp;", "&lt;", "a,b", "=1+1", "+1", "-", "–", "@me", "'", "NA", "null", "", "a b", "NOTE",
    "STYLE", "WEBVTT", "REGION", "00:00:01,000", "00:00:02.000", "<00:01.000>", "item [1]:", 'text = "', "SPEAKER_00:",
    "سلام", "नमस्ते", "ไทย", "\u202eevil", "a\u200db", "\ufeffx", "\ufffe", "\x00", "]]>", "<![CDATA[", "<!--", "Bonjour\u00a0!",
]  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
WORDS = st.one_of(st.sampled_from(AWKWARD), ANY_TEXT)


@st.composite
def segment(draw, id, spaced=True, speakers=("SPEAKER_00", "SPEAKER_01", "SPEAKER_02", None)):
    "A segment of words that may overlap, have no length, or be silence"
    start = draw(st.integers(0, 20000))
    at, words = start, []
    for text in draw(st.lists(WORDS, max_size=25)):
        at += draw(st.sampled_from([0, 0, 40, 200, 900, 1000, 2500]))
        end = at + draw(st.sampled_from([0, 1, 80, 300, 700, 3000]))
        silent = draw(st.integers(0, 9)) == 0
        words.append(
            Word("[SILENCE]" if silent else text, at / 1000, end / 1000, kind="silence" if silent else "word")
        )
        at = draw(st.integers(at, end))
    last = max([w.end_time for w in words], default=start / 1000 + draw(st.sampled_from([0, 1])))
    text = (" " if spaced else "").join(w.word for w in words)
    speaker = draw(st.sampled_from(speakers))
    return Segment(id, start / 1000, last, speaker_id=speaker, text=text, words=tuple(words))


@st.composite
def analysis(draw, **options):
    "A result of up to four segments"
    spaced = draw(st.booleans())
    made = [draw(segment(i, spaced, **options)) for i in range(draw(st.integers(0, 4)))]
    made.sort(key=lambda s: s.start_time)
    turns = tuple(Turn(s.start_time, s.end_time, s.speaker_id) for s in made if s.speaker_id)
    return Analysis(tuple(made), turns, (), Metadata("my talk.mp4", duration=1000))


def said(id, text, start=0.0, step=0.4, speaker="SPEAKER_00", joined=" ", length=None):
    "A segment with a word every `step` seconds, each of `length` seconds"
    words = []
    for number, word in enumerate(text.split()):
        at = round(start + number * step, 3)
        end = round(at + (length or step), 3)
        words.append(
            Word(word, at, end, speaker_id=speaker, speaker_confidence=0.9, confidence=0.8, timing="aligned")
        )
    end = words[-1].end_time
    return Segment(id, start, end, speaker_id=speaker, text=joined.join(text.split()), words=tuple(words))


def result(*segments, duration=100.0, filename="talk.mp4", speakers=(), **about):
    "A result whose turns are its segments"
    turns = tuple(Turn(s.start_time, s.end_time, s.speaker_id) for s in segments if s.speaker_id)
    speakers = tuple(speakers) or tuple(Speaker(who) for who in sorted({t.speaker_id for t in turns}))
    return Analysis(segments, turns, speakers, Metadata(filename, duration=duration, **about))
