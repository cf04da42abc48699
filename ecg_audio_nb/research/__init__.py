"""Scores, sweeps and the explorer"""
