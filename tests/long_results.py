"""The result of an hour of speech, without an hour of work"""
from ecg_audio_nb.schema import AcousticFeatures, Analysis, Metadata, RunTiming, Segment, Speaker, Turn, Word

WORDS = 9000 # an hour at 150 words a minute


def hour_long(filename="hour.wav"):
    "An analysis of 9,000 words in 900 segments by two speakers"
    segments, turns = [], []
    for n in range(WORDS // 10):
        speaker, start = f"SPEAKER_0{n % 2}", 4.0 * n
        words = tuple(
            Word(
                f"word{10 * n + i}",
                round(start + 0.39 * i, 3),
                round(start + 0.39 * i + 0.31, 3),
                speaker_id=speaker,
                confidence=0.9,
                acoustic_features=AcousticFeatures(-27.437 - i / 10, 131.713 + n % 90, 1184.271 + n % 500),
            )
            for i in range(10)
        )
        text = " ".join(w.word for w in words)
        told = {"speaker_id": speaker, "text": text, "words": words}
        told["acoustic_features"] = AcousticFeatures(-28.119, 130.914, 1201.552)
        segments.append(Segment(n, start, start + 3.9, **told))
        turns.append(Turn(start, start + 3.9, speaker))
    speakers = tuple(Speaker(f"SPEAKER_0{n}", 1755.0, 450, 4500) for n in range(2))
    timing = RunTiming(processing_time=1.0)
    metadata = Metadata(filename, duration=3600.0, language_detected="en", timing=timing)
    return Analysis(tuple(segments), tuple(turns), speakers, metadata)
