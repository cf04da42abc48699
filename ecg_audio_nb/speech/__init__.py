"""Speech detection, recognition, alignment, diarization: who said what, when"""
