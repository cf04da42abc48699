"""A transcript in which every word has a time, a speaker and a measured voice."""
__version__ = "0.1.0"
