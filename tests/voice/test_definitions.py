"""Every measure of a result is defined, once"""

from dataclasses import fields

import pytest

from ecg_audio_nb.schema import AcousticFeatures, FullFeatures, LoudnessInfo, SignalInfo, Speaker
from ecg_audio_nb.voice.definitions import DEFINITIONS, definition, definition_table
from ecg_audio_nb.voice.quality import FEATURES


def test_every_field_has_one_definition_and_every_definition_a_field():
    of_spans = [f.name for r in (AcousticFeatures, FullFeatures) for f in DEFINITIONS[r]]
    assert of_spans == [f.name for f in fields(FullFeatures)]
    for record in (LoudnessInfo, SignalInfo):
        assert [f.name for f in DEFINITIONS[record]] == [f.name for f in fields(record)]
    assert [f.name for f in DEFINITIONS[Speaker]] == ["loudness_lufs"]
    assert set(DEFINITIONS) == {AcousticFeatures, FullFeatures, Speaker, LoudnessInfo, SignalInfo}
    everything = [f for known in DEFINITIONS.values() for f in known]
    assert len({f.name for f in everything}) == len(everything)


def test_nothing_is_left_empty():
    for known in DEFINITIONS.values():
        for f in known:
            assert all(part.strip() for part in (f.name, f.definition, f.window, f.unit, f.source)), f


def test_units_fit_the_names():
    suffixes = {"_hz": "Hz", "_lufs": "LUFS", "_dbtp": "dBTP", "_lu": "LU", "_semitones": "semitones",
                "_rate": "1/s", "_fraction": "1"}  # fmt: skip
    for known in DEFINITIONS.values():
        for f in known:
            unit = next((u for end, u in suffixes.items() if f.name.endswith(end)), None)
            assert unit is None or f.unit == unit or f.name == "zero_crossing_rate", f
            assert not f.name.endswith("_db") or f.unit in ("dB", "dBFS"), f


def test_definitions_of_quality_are_those_of_its_module():
    assert {f.name: f for f in DEFINITIONS[FullFeatures]} == {f.name: f for f in DEFINITIONS[FullFeatures]} | {
        f.name: f for f in FEATURES
    }
    assert definition("mfcc_12") is definition("mfcc")
    for name in ("f4_hz", "", "mfccs"):
        with pytest.raises(KeyError, match="no measure of a result"):
            definition(name)


def test_the_table_has_a_row_each():
    rows = definition_table(DEFINITIONS[FullFeatures]).splitlines()
    assert len(rows) == 2 + len(DEFINITIONS[FullFeatures])
    assert all(row.count(" | ") == 4 for row in rows)
