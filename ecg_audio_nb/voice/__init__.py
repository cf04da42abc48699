"""The measured voice: level, F0, spectrum, loudness, formants, voice quality"""
