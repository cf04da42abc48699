"""For installers that want a setup.py; all that matters stands in pyproject.toml"""
from setuptools import setup

setup()
