"""How an analysis shows itself in Jupyter: whole, escaped, and also when there is nothing to show."""
from xml.etree import ElementTree

import pytest

from ecg_audio_nb.core.html import PALETTE, clock, colours, strip_svg
from ecg_audio_nb.schema import AcousticFeatures, Analysis, Metadata, Segment, Speaker, Turn


def analysis(n=2, text="yes & <b>no</b>"):
    segments = tuple(
        Segment(
            i,
            i,
            i + 1,
            speaker_id=f"SPEAKER_{i % 2:02d}",
            text=text,
            acoustic_features=AcousticFeatures(-23.4, 180.2 if i else None, 900),
        )
        for i in range(n)
    )
    turns = tuple(Turn(i, i + 1, f"SPEAKER_{i % 2:02d}") for i in range(n))
    speakers = tuple(Speaker(s) for s in sorted({t.speaker_id for t in turns}))
    return Analysis(
        segments, turns, speakers, Metadata("a <talk>.mp4", duration=float(n), warnings=("clipped: a < b",))
    )


def parsed(html): return ElementTree.fromstring(html.replace("<br>", "<br/>").replace("&nbsp;", " "))


@pytest.mark.parametrize("n", [0, 1, 2, 25])
def test_it_is_well_formed_and_shows_what_there_is(n):
    tree = parsed(analysis(n)._repr_html_())
    rows = tree.findall(".//table/tr")[1:]
    assert len(rows) == min(n, 20) and len(tree.findall(".//rect")) == n
    assert ("and 5 more segments" in "".join(tree.itertext())) == (n == 25)


def test_text_is_escaped():
    shown = analysis()._repr_html_()
    assert "<b>no" not in shown and "yes &amp; &lt;b&gt;no" in shown and "a &lt;talk&gt;.mp4" in shown


def test_what_is_unknown_is_a_dash():
    row = parsed(analysis()._repr_html_()).findall(".//table/tr")[1]
    assert [cell.text for cell in row][3:] == ["-23 dB", "–", "900 Hz"]


def test_a_lane_a_speaker_and_one_colour_each():
    a = analysis(4)
    bars = ElementTree.fromstring(strip_svg(a)).findall("rect")
    assert [b.get("fill") for b in bars] == [PALETTE[0], PALETTE[1]] * 2
    assert len(set(colours("abcdefgh").values())) == 8


@pytest.mark.parametrize(
    "seconds, shown", [(0, "0:00.0"), (59.96, "1:00.0"), (61.24, "1:01.2"), (3661.5, "1:01:01.5")]
)
def test_clock(seconds, shown):
    assert clock(seconds) == shown
