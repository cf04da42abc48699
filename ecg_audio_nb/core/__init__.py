"""Mechanisms that know nothing of speech: child processes, the machine, HTML, arrays, weights in wheels"""
