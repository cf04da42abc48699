"""Files that a person edited, read back as corrections of the result that they were exported from

Phoneticians correct words and borders in Praat or ELAN, captioners correct SubRip. `correct_from` finds out
what they changed and makes the corrected result. What was not changed stays as it was: times, confidence,
measures. A file that was not edited changes nothing at all.

| file | what is read |
| --- | --- |
| `.TextGrid`, `.eaf` | words with exact times on tiers `SPEAKER words`; texts of segments; turns |
| `.srt`, `.vtt`, `.ass` | texts, and speakers' names; new words get times between their neighbours |

"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ecg_audio_nb.core.identity import digest_about
from ecg_audio_nb.results import edited_cues, edited_tiers
from ecg_audio_nb.results.caption_styles import Style
from ecg_audio_nb.results.corrections import (
    CorrectionError,
    Draft,
    apply_corrections,
    apply_unmeasured,
    measure_recording,
    settings_of,
)
from ecg_audio_nb.results.edits import Edits, apply_edits, draft_with_speakers, names_of
from ecg_audio_nb.schema import Analysis, with_names

TIERS, CUES = (".textgrid", ".eaf"), edited_cues.FORMATS
FEW = 0.2  # of the words: with fewer that are alike, the file is about something else


@dataclass(frozen=True)
class Correction:
    "A corrected result, and what was changed"

    analysis: Analysis
    summary: str  # for a person, such as "3 words changed, 1 word added"
    notes: tuple[str, ...] = ()  # what of the file was not read
    changed: bool = True  # False: the file says what the result says


def read_edits(
    analysis: Analysis,
    path: str | Path,  # .TextGrid, .eaf, .srt, .vtt or .ass
    style: Style | None = None,  # that captions were exported in; None: found out
    force: bool = False,  # take the file though it is about another recording, or its words are others
) -> Edits:
    "Find out what an edited file changed; raises `CorrectionError` for a file of another recording"
    if not force:
        _check_recording(path, analysis)
    suffix, named, draft = Path(path).suffix.lower(), with_names(analysis), draft_with_speakers(analysis)
    names = names_of(analysis, named)
    if suffix in TIERS:
        edits = edited_tiers.find_tier_edits(path, analysis, named, names, draft)
    elif suffix in CUES:
        edits = edited_cues.find_cue_edits(path, analysis, named, names, draft, style)
    else:
        known = ".TextGrid, .eaf, .srt, .vtt or .ass"
        raise CorrectionError(f"{path}: an edited file ends in {known}, not {suffix or 'nothing'}")
    if not force:
        _check_words(path, edits, draft)
    return edits


def _check_recording(path, analysis: Analysis):
    "Refuse a file that is about another recording: it says so, or lies beside that one's result"
    own, other = analysis.metadata.source_sha256, digest_about(path)
    if own and other and own != other:
        raise CorrectionError(
            f"{path} is about another recording (SHA-256 {other[:8]}…) than the result ({own[:8]}…). Name "
            "the result that it was exported from, or take it all the same (--force)"
        )


def _check_words(path, edits: Edits, draft: Draft):
    "Refuse a file whose words are not those of the result"
    kept = len(draft.words) - sum(
        not any(w.word == draft.words[number].word for w in new) for number, new in edits.words.items()
    )
    if len(draft.words) >= 10 and kept < FEW * len(draft.words):
        raise CorrectionError(
            f"{path} has {kept} of the {len(draft.words)} words of the result: it seems to be about "
            "something else. Name the result that it was exported from, or take it all the same (--force)"
        )


def correct_from(
    analysis: Analysis,
    path: str | Path,  # .TextGrid, .eaf, .srt, .vtt or .ass
    media: str | Path | None = None,  # the recording; None: what was changed has no measures
    style: Style | None = None,  # that captions were exported in; None: found out
    force: bool = False,  # take the file though it is about another recording, or its words are others
    on_event: Callable | None = None,  # called with a `StageEvent` while the recording is measured
) -> Correction:
    "Correct a result by a file that a person edited; raises `CorrectionError`"
    edits, draft = read_edits(analysis, path, style, force), draft_with_speakers(analysis)
    corrected = apply_edits(draft, edits)
    summary, notes = edits.summary(draft), tuple(edits.notes)
    if corrected == draft:
        return Correction(analysis, summary, notes, changed=False)
    if media is None:
        return Correction(apply_unmeasured(corrected, analysis, settings_of(analysis)), summary, notes)
    measured = measure_recording(analysis, media, on_event)
    result = apply_corrections(corrected, analysis, measured.frames, measured.speech, measured.settings)
    if not is_source(analysis, media):
        result = _with_warning(
            result, f"measured on {Path(media).name}, which is not the very file of the result"
        )
    return Correction(result, summary, notes)


def _with_warning(analysis, text):
    *warnings, last = analysis.metadata.warnings
    metadata = replace(analysis.metadata, warnings=(*warnings, text, last))
    return replace(analysis, metadata=metadata)


def is_source(analysis: Analysis, media: str | Path) -> bool:
    "Tell whether a file is the very recording of a result, byte for byte"
    try:
        with open(media, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == analysis.metadata.source_sha256
    except OSError:
        return False
