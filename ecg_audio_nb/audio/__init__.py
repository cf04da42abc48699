"""From a path or URL to a waveform on its own time line"""
